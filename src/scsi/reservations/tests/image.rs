//! What outlives a loss of power.

use super::*;

fn kept() -> Registry {
    let mut registry = reserved(ReservationType::WriteExclusiveRegistrantsOnly);
    let asked = OutParameters { aptpl: true, all_ports: true, ..keys(KEYS[0], KEYS[0]) };
    assert!(registry.persistent_out(nexus(0), OutAction::Register, &asked, &PORTS).unwrap().save);
    registry
}

#[test]
fn comes_back_as_it_was() {
    let registry = kept();
    let image = registry.to_bytes().unwrap();
    let back = Registry::from_bytes(&image).unwrap();
    assert_eq!(read(&back, 3)[8..], read(&registry, 3)[8..]);
    assert_eq!((rights(&back), read(&back, 1)[4..].to_vec()), (rights(&registry), read(&registry, 1)[4..].to_vec()));
    assert_eq!(generation(&back), 0);
    assert_eq!(back.to_bytes().unwrap(), image);
}

#[test]
fn is_written_at_each_change_and_goes_with_the_wish() {
    let mut registry = kept();
    let released = act(&mut registry, 0, OutAction::Release(ReservationType::WriteExclusiveRegistrantsOnly)).unwrap();
    assert!(released.save);
    assert!(act(&mut registry, 1, OutAction::Reserve(ReservationType::ExclusiveAccess)).unwrap().save);
    assert!(act_on(&mut registry, 2, OutAction::Preempt(ReservationType::WriteExclusive), KEYS[1]).unwrap().save);
    let changes = act_on(&mut registry, 2, OutAction::Register, KEYS[2]).unwrap();
    assert!(changes.save && registry.to_bytes().is_none(), "a REGISTER without APTPL ends it, and that is to be done");
    assert!(!act_on(&mut registry, 2, OutAction::Register, KEYS[2]).unwrap().save);
    let mut registry = kept();
    assert!(act(&mut registry, 0, OutAction::Clear).unwrap().save && registry.to_bytes().is_none());
}

#[test]
fn a_changed_image_is_not_believed() {
    let image = kept().to_bytes().unwrap();
    for at in 0..image.len() {
        let mut changed = image.clone();
        changed[at] ^= 1;
        assert!(Registry::from_bytes(&changed).is_err(), "byte {at}");
        assert!(Registry::from_bytes(&image[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(Registry::from_bytes(&[0; 1024]).unwrap_err(), BadImage::Kind);
    assert_eq!(Registry::from_bytes(&vec![0; Registry::IMAGE_LEN_MAX + 1]).unwrap_err(), BadImage::Length);
}

#[test]
fn the_largest_registry_fits() {
    let mut registry = Registry::default();
    let asked = OutParameters { aptpl: true, ..keys(0, 9) };
    for index in 0..REGISTRATIONS_MAX {
        registry.persistent_out(nexus(index), OutAction::Register, &asked, &PORTS).unwrap();
    }
    let image = registry.to_bytes().unwrap();
    assert_eq!(image.len(), Registry::IMAGE_LEN_MAX);
    assert_eq!(registered_keys(&Registry::from_bytes(&image).unwrap()).len(), REGISTRATIONS_MAX);
}

#[test]
fn what_is_lost_forbids_until_somebody_says_it_again() {
    let mut registry = Registry::lost();
    assert_eq!(rights(&registry), [Rights::Lost; 3]);
    let said = refusal(registry.persistent_out(nexus(0), OutAction::Register, &keys(0, 1), &PORTS));
    assert_eq!(said, (SenseKey::HARDWARE_ERROR, Asc::PERSISTENT_RESERVATION_INFORMATION_LOST, None));
    let replace = OutAction::ReplaceLost(ReservationType::WriteExclusive);
    assert_eq!(refusal(registry.persistent_out(nexus(0), replace, &keys(1, 1), &PORTS)).2, Some(0));
    assert_eq!(refusal(registry.persistent_out(nexus(0), replace, &keys(0, 0), &PORTS)).2, Some(8));
    assert!(registry.persistent_out(nexus(0), replace, &keys(0, KEYS[0]), &PORTS).unwrap().save);
    assert_eq!(rights(&registry), [Rights::All, Rights::Read, Rights::Read]);
    let said = refusal(registry.persistent_out(nexus(0), replace, &keys(0, KEYS[0]), &PORTS));
    assert_eq!((said.1, said.2), (Asc::INVALID_FIELD_IN_CDB, Some(1)), "nothing is lost now");
}
