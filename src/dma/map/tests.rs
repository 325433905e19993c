use super::testing::{region, region_with};
use super::*;

fn pieces(map: &MemMap, gpa: u64, len: u64, access: Access) -> Result<Vec<usize>, TranslateError> {
    let mut lens = Vec::new();
    map.translate(&mut RegionCache::default(), (Gpa(gpa), len), access, |segment, _| {
        lens.push(segment.len());
        Ok(())
    })?;
    Ok(lens)
}

#[test]
fn a_range_may_cross_regions_that_touch() {
    let map = MemMap::new(vec![region(0x2000, 0x1000), region(0x1000, 0x1000)]);
    assert_eq!(pieces(&map, 0x1f00, 0x200, Access::Read), Ok(vec![0x100, 0x100]));
    assert_eq!(pieces(&map, 0x1000, 0x2000, Access::Write), Ok(vec![0x1000, 0x1000]));
}

#[test]
fn holes_ends_and_wraps_are_errors() {
    let map = MemMap::new(vec![region(0x1000, 0x1000), region(0x3000, 0x1000)]);
    assert_eq!(pieces(&map, 0xfff, 1, Access::Read), Err(TranslateError::Unmapped(Gpa(0xfff))));
    assert_eq!(pieces(&map, 0x1fff, 2, Access::Read), Err(TranslateError::Unmapped(Gpa(0x2000))));
    assert_eq!(pieces(&map, 0x4000, 1, Access::Read), Err(TranslateError::Unmapped(Gpa(0x4000))));
    assert_eq!(pieces(&map, u64::MAX, 2, Access::Read), Err(TranslateError::Wraps(Gpa(u64::MAX))));
    assert_eq!(pieces(&map, 0x1800, 0, Access::Read), Ok(vec![]));
}

#[test]
fn access_is_checked() {
    let mut read_only = region(0, 16);
    read_only.writable = false;
    let map = MemMap::new(vec![read_only]);
    assert_eq!(pieces(&map, 0, 16, Access::Read), Ok(vec![16]));
    assert_eq!(pieces(&map, 4, 1, Access::Write), Err(TranslateError::Denied(Gpa(4))));
}

#[test]
fn a_hit_is_whole_shared_and_allowed() {
    let mut read_only = region(0x3000, 0x1000);
    read_only.writable = false;
    let map = MemMap::new(vec![region(0x1000, 0x1000), read_only, region_with(0x5000, 0x1000, false)]);
    // Whatever was hit before.
    let hit = |gpa, len, access| {
        let translated = map.contiguous(Gpa(gpa), len, access);
        let found = [0x1000, 0x3000, 0x5000].map(|last| {
            let mut cache = RegionCache::default();
            for len in [1, 0x1000] {
                map.translate(&mut cache, (Gpa(last), len), Access::Read, |_, _| Ok(())).unwrap();
            }
            map.hit(&mut cache, (Gpa(gpa), len), access)
        });
        assert!(found.iter().all(|found| found.is_none() || *found == translated.ok()));
        assert!(found.iter().all(|other| other == &found[0]));
        found[0].is_some()
    };
    let (read, write) = (Access::Read, Access::Write);
    assert!(hit(0x1000, 0x1000, write) && hit(0x1fff, 1, read) && hit(0x3000, 1, read));
    assert!(!hit(0x1001, 0x1000, read) && !hit(0xfff, 2, read) && !hit(0x2000, 1, read) && !hit(0x2000, 0, read));
    assert!(!hit(0x1000, 0, read) && !hit(0x1001, u64::MAX, read) && !hit(u64::MAX, 2, read));
    assert!(!hit(0x3000, 1, write) && !hit(0x5000, 1, read) && !hit(0x5000, 0x1000, write));
    assert_eq!(MemMap::default().hit(&mut RegionCache::default(), (Gpa(0), 1), read), None);
}

#[test]
fn a_segment_tells_where_it_came_from() {
    let map = MemMap::new(vec![region(0x1000, 0x1000), region_with(0x5000, 0x1000, false)]);
    for gpa in [0x1000, 0x1fff, 0x5000, 0x5123] {
        let mut found = None;
        let note = |segment, _| {
            found = Some(segment);
            Ok(())
        };
        map.translate(&mut RegionCache::default(), (Gpa(gpa), 1), Access::Read, note).unwrap();
        assert_eq!(map.locate(&found.unwrap()), Some(Gpa(gpa)));
    }
    let other = MemMap::new(vec![region(0x1000, 0x1000)]);
    assert_eq!(map.locate(&other.contiguous(Gpa(0x1000), 1, Access::Read).unwrap()), None);
}

#[test]
fn rings_must_be_one_piece_of_shared_memory() {
    let map = MemMap::new(vec![region(0, 16), region(16, 16), region_with(64, 16, false)]);
    assert_eq!(map.contiguous(Gpa(4), 12, Access::Write).map(|s| s.len()), Ok(12));
    assert_eq!(map.contiguous(Gpa(64), 4, Access::Read), Err(TranslateError::NotShared(Gpa(64))));
}
