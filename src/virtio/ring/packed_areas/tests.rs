use super::*;

fn at(index: u16, wrap: bool) -> Position {
    Position { index, available: if wrap { 0x80 } else { 0x8000 } }
}

#[test]
fn the_wrap_counter_turns_behind_the_last_descriptor() {
    assert_eq!(at(0, true).advance(2, 3), at(2, true));
    assert_eq!(at(2, true).advance(1, 3), at(0, false));
    assert_eq!(at(2, false).advance(3, 3), at(2, true));
    assert_eq!(at(0, true).advance(1, 1), at(0, false));
    for position in [at(0, true), at(1, false), at(2, true), at(2, false)] {
        assert_eq!(position.next(3), position.advance(1, 3));
    }
    assert_eq!(at(0x7fff, true).advance(0x8000, 0x8000), at(0x7fff, false));
    for (by, same) in [(1, true), (2, true), (3, false), (4, false), (5, false)] {
        assert_eq!(at(2, false).advance_in_turn(by, 5), same.then_some(at(2 + by, false)));
    }
}

#[test]
fn available_is_what_differs_and_matches_the_counter() {
    let (avail, used) = (0x80, 0x8000);
    for (flags, first_turn, second_turn) in
        [(0, false, false), (avail, true, false), (used, false, true), (avail | used, false, false)]
    {
        // Other bits mean nothing here.
        for flags in [flags, flags | 0x7f7f] {
            let found = (at(0, true).is_available(flags), at(0, false).is_available(flags));
            assert_eq!(found, (first_turn, second_turn), "{flags:#x}");
        }
    }
}

#[test]
fn three_descriptors_are_judged_as_one_by_one() {
    let (next, write, indirect) = (DESC_F_NEXT, DESC_F_WRITE, DESC_F_INDIRECT);
    let some = [next, write, indirect, DESC_F_AVAIL, DESC_F_USED];
    let all = || (0..32).map(|bits| (0..5).filter(|bit| bits >> bit & 1 != 0).map(|bit| some[bit]).sum::<u16>());
    let of = |flags, link| Descriptor { addr: crate::dma::Gpa(0x1122_3344_5566_7788), len: 0x99aa_bbcc, flags, link };
    for turn in [at(0, true), at(0, false)] {
        for (first, second) in all().flat_map(|first| all().map(move |second| (first, second))) {
            for third in all() {
                let [one, two, three] = [first, second, third].map(|flags| flags & (next | write));
                let expected = [first, second, third].iter().all(|flags| turn.is_available_and_direct(*flags))
                    && one == next
                    && two & next == next
                    && three == write;
                // Reserved flags mean nothing. What comes back is what was judged.
                let descriptors = [of(first | 0x7f78, 1), of(second | 0x0100, 2), of(third, 0xfffe)];
                let judged =
                    turn.judge(&descriptors.each_ref().map(Shared::of)).map(|three| three.map(RawDescriptor::packed));
                assert_eq!(judged, expected.then_some(descriptors), "{turn:?} {first:#x} {second:#x} {third:#x}");
            }
        }
    }
}

#[test]
fn event_suppression_is_four_bytes() {
    let encoded = |event: Event| event.encode().to_le_bytes();
    assert_eq!(encoded(Event::Enable), [0, 0, 0, 0]);
    assert_eq!(encoded(Event::Disable), [0, 0, 1, 0]);
    assert_eq!(encoded(Event::At(at(0x123, true))), [0x23, 0x81, 2, 0]);
    assert_eq!(encoded(Event::At(at(0x123, false))), [0x23, 0x01, 2, 0]);
    for event in [Event::Enable, Event::Disable, Event::At(at(5, true)), Event::At(at(5, false))] {
        assert_eq!(Event::decode(event.encode(), true), event);
    }
    // By place without the feature, and the reserved value.
    assert_eq!(Event::decode(Event::At(at(5, true)).encode(), false), Event::Enable);
    assert_eq!(Event::decode(0x0003_0005, true), Event::Enable);
    // Reserved bits mean nothing.
    assert_eq!(Event::decode(0xfffd_0005, true), Event::Disable);
}

#[test]
fn an_event_is_wanted_when_its_place_is_passed() {
    for (event, old, count, wanted) in [
        (at(0, true), at(0, true), 1, true),
        (at(0, true), at(0, true), 0, false),
        (at(1, true), at(0, true), 1, false),
        (at(1, true), at(0, true), 2, true),
        (at(0, true), at(0, false), 5, false),
        (at(0, false), at(4, true), 1, false),
        (at(0, false), at(4, true), 2, true),
        (at(4, true), at(0, false), 5, false),
        (at(1, true), at(3, false), 4, true),
        (at(1, true), at(3, false), 3, false),
    ] {
        assert_eq!(Event::At(event).wants(old, count, 5), wanted, "{event:?} {old:?} {count}");
    }
    // A place that the ring does not have hurts nobody.
    let _ = Event::At(at(0x7fff, false)).wants(at(0, true), 1, 1);
}
