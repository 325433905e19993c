//! What the driver expects of each request that has come back.

use super::*;

impl Guest {
    /// A function was answered: no command that it is about may be open.
    pub(super) fn check_ended(&self, scope: Scope, order: u64) {
        for sent in self.sent.values().filter(|sent| sent.order < order) {
            if let What::Command(address) = sent.what {
                assert!(!scope.holds(address, sent.id), "{scope:?} was answered before command {} of it", sent.id);
            }
        }
    }

    /// A command was carried out: none may be open that it had to wait for.
    pub(super) fn check_order(&self, queue: usize, ended: &Sent) {
        let What::Command(address) = ended.what else { return };
        let of_unit = || self.sent.iter().filter(move |(_, sent)| sent.what == What::Command(address));
        let before = || of_unit().filter(|(_, sent)| sent.order < ended.order);
        let privileged = |sent: &Sent| matches!(sent.attribute, TASK_ATTR_ORDERED | TASK_ATTR_HEAD);
        if !matches!(ended.attribute, TASK_ATTR_HEAD | TASK_ATTR_ACA) {
            let mut same = before().filter(|((number, _), _)| *number == queue);
            let passed = same.find(|(_, sent)| privileged(sent));
            assert!(passed.is_none(), "{} was before {passed:?} of its queue", ended.id);
        }
        if ended.attribute == TASK_ATTR_ORDERED {
            // Another ORDERED one may have come later although it was sent before, and what is behind that.
            let ordered = |other: &Sent| other.attribute == TASK_ATTR_ORDERED;
            let is_behind = |number: usize, order: u64| {
                of_unit().any(|(&(its, _), other)| its == number && ordered(other) && other.order <= order)
            };
            let passed = before().find(|((number, _), sent)| !is_behind(*number, sent.order));
            assert!(passed.is_none(), "{} was before {passed:?}", ended.id);
        }
    }

    pub(super) fn parse(&self, queue: usize, sent: &Sent, written: u32) -> Ended {
        let bytes = self.drivers[queue].read(sent.block + RESPONSE_AT, RESPONSE_LEN as usize);
        if queue == 0 {
            let (id, response) = (sent.id, bytes[0]);
            return Ended {
                id,
                response,
                status: 0,
                resid: 0,
                sense: None,
                descriptors: false,
                data: Vec::new(),
                written,
            };
        }
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let (sense, sense_len) = (&bytes[12..], word(0) as usize);
        // Where there is none, nobody has written there.
        let is_padded = sense[sense_len..].iter().all(|&byte| byte == 0);
        assert!(sense_len == 0 || is_padded, "sense is padded with zeros");
        let descriptors = sense[0] == 0x72;
        let [key, code] = if descriptors { [1, 2] } else { [2, 12] };
        Ended {
            id: sent.id,
            response: bytes[11],
            status: bytes[10],
            resid: word(4),
            sense: (word(0) > 0).then(|| (sense[key] & 0xf, u16::from_be_bytes([sense[code], sense[code + 1]]))),
            descriptors,
            data: self.drivers[queue].read(sent.block + BUFFER_AT, sent.data_in as usize),
            written,
        }
    }
}
