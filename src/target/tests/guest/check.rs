//! What the driver expects of each request that has come back.

use super::*;

/// LOGICAL UNIT NOT SUPPORTED: the command found nobody whom it could wait for.
const NOT_SUPPORTED: (u8, u16) = (5, 0x2500);

impl Guest {
    /// A function was answered: no command that it is about may be open.
    pub(super) fn check_ended(&self, scope: Scope, order: u64) {
        for sent in self.sent.values().filter(|sent| sent.order < order) {
            if let What::Command(address) = sent.what {
                assert!(!scope.holds(address, sent.id), "{scope:?} was answered before command {} of it", sent.id);
            }
        }
    }

    /// What is behind an ORDERED command in its queue can come to the task set.
    pub(super) fn free_those_behind(&mut self, queue: usize, ended: &Sent) {
        let is_behind = |sent: &Sent| sent.what == ended.what && sent.order > ended.order;
        if ended.attribute == TASK_ATTR_ORDERED {
            let own = self.sent.iter_mut().filter(|((number, _), sent)| *number == queue && is_behind(sent));
            own.for_each(|(_, sent)| sent.freed = self.next_id);
        }
    }

    /// A command was carried out: those that are open and that it had to wait for must not be.
    pub(super) fn check_order(&mut self, queue: usize, ended: &Sent, how: &Ended) {
        let What::Command(address) = ended.what else { return };
        if how.sense == Some(NOT_SUPPORTED) {
            return;
        }
        if let Some(by) = ended.passed_by {
            panic!("{ended:?} was carried out after {by}, which had to wait for it");
        }
        let is_to_it = move |sent: &Sent| sent.what == What::Command(address);
        // What was sent before the units changed may be with another one.
        let is_before = move |sent: &Sent| is_to_it(sent) && sent.changes == ended.changes && sent.order < ended.order;
        let is_ordered = |sent: &Sent| sent.attribute == TASK_ATTR_ORDERED;
        let is_privileged = |sent: &Sent| is_ordered(sent) || sent.attribute == TASK_ATTR_HEAD;
        let waits_for_queue = !matches!(ended.attribute, TASK_ATTR_HEAD | TASK_ATTR_ACA);
        // Another ORDERED one may have come later although it was sent before, and what is behind that.
        let ordered: Vec<_> = self.sent.iter().filter(|(_, sent)| is_to_it(sent) && is_ordered(sent)).collect();
        let ordered: Vec<_> = ordered.into_iter().map(|(&(number, _), sent)| (number, sent.order)).collect();
        let is_behind = |number, order| ordered.iter().any(|&(its, other)| its == number && other <= order);
        // Or was there before it could come itself.
        let is_behind = |number, sent: &Sent| sent.freed > ended.order || is_behind(number, sent.order);
        for (&(number, _), sent) in self.sent.iter_mut().filter(|(_, sent)| is_before(sent)) {
            let is_passed = waits_for_queue && number == queue && is_privileged(sent)
                || is_ordered(ended) && !is_behind(number, sent);
            sent.passed_by = sent.passed_by.or(is_passed.then_some(ended.id));
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
                sense_bytes: Vec::new(),
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
            sense_bytes: sense[..sense_len].to_vec(),
            descriptors,
            data: self.drivers[queue].read(sent.block + BUFFER_AT, sent.data_in as usize),
            written,
        }
    }
}
