use super::*;
use crate::channel::Tag;

fn done(tag: u64) -> Completion {
    Completion { tag: Tag(tag), result: Ok(()) }
}

fn small() -> IoConfig {
    IoConfig { entries: 4, channels: 3, reserve: 2, ..IoConfig::default() }
}

#[test]
fn completions_come_in_the_order_in_which_they_were_made() {
    let mut io = Io::default();
    let channel = io.register().unwrap();
    for tag in 0..3 {
        io.admit(channel).unwrap();
        io.complete(channel, done(tag));
    }
    let tags: Vec<_> = std::iter::from_fn(|| io.next_completion()).map(|completion| completion.tag.0).collect();
    assert_eq!(tags, [0, 1, 2]);
}

#[test]
fn an_operation_counts_until_its_completion_is_taken() {
    let mut io = Io::new(small());
    let channel = io.register().unwrap();
    let fill = |io: &mut Io| std::iter::from_fn(|| io.admit(channel).ok()).count();
    assert_eq!((fill(&mut io), io.in_flight(), io.channel_max()), (4, 4, 4));
    io.complete(channel, done(1));
    assert_eq!((fill(&mut io), io.in_flight()), (0, 4));
    io.next_completion();
    assert_eq!((io.in_flight(), fill(&mut io)), (3, 1));
    io.release(channel);
    assert_eq!((io.in_flight(), fill(&mut io)), (3, 1));
}

#[test]
fn a_channel_that_was_closed_makes_room_for_another() {
    let mut io = Io::new(small());
    let channels = [(); 3].map(|()| io.register().unwrap());
    assert!(io.register().is_err());
    io.admit(channels[0]).unwrap();
    io.unregister(channels[0]);
    assert!(io.register().is_err(), "its operation would count for another");
    io.unregister(channels[1]);
    assert_eq!(io.register().unwrap(), channels[1]);
}

#[test]
fn has_no_ring_until_one_is_needed() {
    let mut io = Io::default();
    assert!(io.bell().is_none());
    assert_eq!(io.submit(), 0);
    io.reap();
    io.open_ring().unwrap();
    assert!(io.bell().is_some());
}

#[test]
fn sizes_are_brought_within_their_bounds() {
    let bounded = |entries, channels, reserve, bounce_buffer_bytes| {
        let config = IoConfig { entries, channels, reserve, bounce_buffers: 0, bounce_buffer_bytes };
        config.within_bounds()
    };
    let least = IoConfig { entries: 1, channels: 1, reserve: 1, bounce_buffers: 1, bounce_buffer_bytes: 4096 };
    assert_eq!(bounded(0, 0, 0, 1), least);
    let most = bounded(u32::MAX, u32::MAX, u32::MAX, 4097);
    assert_eq!((most.entries, most.channels, most.reserve), (16384, 16384, 1));
    assert_eq!((most.in_flight_max(), most.bounce_buffer_bytes), (32768, 8192));
    let many = bounded(2048, 1500, 32, 4096);
    assert_eq!((many.reserve, many.in_flight_max() <= ENTRIES_MAX), (20, true));
    let usual = bounded(2048, 8, 32, 4096);
    assert_eq!((usual.reserve, usual.in_flight_max()), (32, 2304), "it grows with the number of channels");
}
