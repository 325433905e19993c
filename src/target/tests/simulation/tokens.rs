//! Tokens: a guest has one made for a block, is told it, and writes with it to other blocks, while it goes on writing to the
//! first. What arrives is what was there when the token was made, or the token is cancelled.

use super::*;
use crate::target::tests::model::Place;

/// POPULATE TOKEN, WRITE USING TOKEN and RECEIVE ROD TOKEN INFORMATION, without list identifier.
const POPULATE: [u8; 16] = [0x83, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0];
const USING: [u8; 16] = [0x83, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x28, 0, 0];
const INFORMATION: [u8; 16] = [0x84, 0x07, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x04, 0, 0, 0];
/// Where RECEIVE ROD TOKEN INFORMATION has the token.
const TOKEN: std::ops::Range<usize> = 38..550;
/// COPY OPERATION STATUS: it has ended well.
const COMPLETED: u8 = 1;
/// DEL_TKN: it is used for the last time.
const LAST_USE: u8 = 0x02;

/// How far a guest is with its token.
#[derive(Debug, Default)]
pub(super) enum Token {
    #[default]
    None,
    /// It is being made by the command of this name.
    Making {
        id: u64,
        from: Place,
        list: u8,
    },
    Made {
        from: Place,
        list: u8,
    },
    /// The command of this name asks for it.
    Asking {
        id: u64,
    },
    Known(Vec<u8>),
}

impl Token {
    /// A request of the guest has ended.
    pub(super) fn ended(&mut self, ended: &Ended) {
        let is_good = ended.response == 0 && ended.status == 0;
        match *self {
            Self::Making { id, from, list } if id == ended.id => {
                *self = if is_good { Self::Made { from, list } } else { Self::None };
            }
            Self::Asking { id } if id == ended.id => {
                let is_told = is_good && ended.data[5] == COMPLETED;
                *self = if is_told { Self::Known(ended.data[TOKEN].to_vec()) } else { Self::None };
            }
            Self::Known(_) if ended.sense.is_some_and(|(key, code)| key == 5 && code >> 8 == 0x23) => {
                *self = Self::None;
            }
            _ => {}
        }
    }
}

/// CDB with a list identifier, which each of them has in a place of its own.
fn named(mut cdb: [u8; 16], list: u8) -> Vec<u8> {
    let last = if cdb[0] == INFORMATION[0] { 5 } else { 9 };
    cdb[last] = list;
    cdb.to_vec()
}

fn populate_list(lba: u8) -> [u8; 32] {
    let mut list = [0; 32];
    (list[1], list[15], list[23], list[27]) = (30, 16, lba, 1);
    list
}

fn using_list(token: &[u8], lba: u8, is_last: bool) -> Vec<u8> {
    let mut list = vec![0; 536 + 16];
    (list[0], list[1], list[535], list[543], list[547]) = (0x02, 0x26, 16, lba, 1);
    list[2] = if is_last { LAST_USE } else { 0 };
    list[16..528].copy_from_slice(token);
    list
}

impl Simulation {
    /// A guest goes on with its token.
    pub(super) fn go_on_with_token(&mut self) {
        let number = self.random.below(2) as usize;
        if self.bed.guests[number].open_in(2) >= OPEN_MAX {
            return;
        }
        let target = self.random.below(DISKS) as u8;
        let place = (target, (self.random.below(BLOCKS) + BLOCKS * number as u64) as u8);
        match &self.tokens[number] {
            Token::None => self.make_token(number, place),
            Token::Making { .. } | Token::Asking { .. } => {}
            &Token::Made { from, list } => {
                let cdb = named(INFORMATION, list);
                let id = self.request(number, from.0, &cdb, Data::In(1024), Command::Other);
                self.tokens[number] = Token::Asking { id };
            }
            Token::Known(token) => {
                let is_last = self.random.one_in(3);
                let list = using_list(token, place.1, is_last);
                self.use_token(number, place, &list);
                if is_last {
                    self.tokens[number] = Token::None;
                }
            }
        }
    }

    fn make_token(&mut self, number: usize, from: Place) {
        // What a token stood for is known as long as it is used.
        if self.models[number].is_in_use(from, false) || self.models[number].uses_token() {
            return;
        }
        self.next_list = self.next_list.wrapping_add(1).max(1);
        let (cdb, list) = (named(POPULATE, self.next_list), self.next_list);
        let id = self.request(number, from.0, &cdb, Data::Out(&populate_list(from.1)), Command::Populate(from));
        self.tokens[number] = Token::Making { id, from, list };
    }

    fn use_token(&mut self, number: usize, to: Place, list: &[u8]) {
        if self.models[number].is_in_use(to, true) {
            return;
        }
        self.next_list = self.next_list.wrapping_add(1).max(1);
        self.request(number, to.0, &named(USING, self.next_list), Data::Out(list), Command::Use(to));
    }

    /// A guest sends a command to its first queue, which has to do with several logical units or none.
    pub(super) fn request(&mut self, number: usize, target: u8, cdb: &[u8], data: Data<'_>, command: Command) -> u64 {
        let guest = &mut self.bed.guests[number];
        guest.attribute = TASK_ATTR_SIMPLE;
        let id = guest.send(0, target, cdb, data);
        self.sent((number, 0), target, id, (command, Need::Several), false);
        id
    }
}
