//! What guests ask for: commands, task management, and operations on what they share.

use super::*;

/// In the CONTROL byte of a CDB.
const NACA: u8 = 0x04;

impl Simulation {
    pub(super) fn send(&mut self) {
        let number = match self.random.below(10) {
            0 | 1 => 1,
            2 if self.bed.guests.len() > VISITOR => VISITOR,
            _ => 0,
        };
        let queue = if number == 0 { self.random.below(QUEUES) as usize } else { 0 };
        let model = &mut self.models[number];
        if self.bed.guests[number].open_in(queue + 2) >= OPEN_MAX {
            return;
        }
        let target = self.random.below(DISKS) as u8;
        let place = (target, (self.random.below(BLOCKS) + BLOCKS * number as u64) as u8);
        let kind = self.random.below(15);
        let is_write = kind < 7;
        if kind < 13 && model.is_in_use(place, is_write) {
            return;
        }
        let to = (self.random.below(DISKS) as u8, (self.random.below(BLOCKS) + BLOCKS * number as u64) as u8);
        if kind == 13 && (to == place || model.is_in_use(place, false) || model.is_in_use(to, true)) {
            return;
        }
        let stamp = self.next_stamp;
        self.next_stamp += 1;
        // Now and then a stamp that was never there.
        let expected = if self.random.one_in(4) { stamp + (1 << 40) } else { model.guess(place) };
        let (mut cdb, command) = match kind {
            0..4 => (write_10(place.1, 1).to_vec(), Command::Write(place, stamp)),
            4 => (compare_and_write(place.1).to_vec(), Command::Compare(place, expected, Some(stamp))),
            5 => (write_same(place.1).to_vec(), Command::Write(place, stamp)),
            6 => (UNMAP.to_vec(), Command::Write(place, 0)),
            7 => (verify_block(place.1).to_vec(), Command::Compare(place, expected, None)),
            8..13 => {
                let mut cdb = read_10(place.1, 1);
                // Some go around the cache, which takes two operations.
                cdb[1] = if kind == 8 { 8 } else { 0 };
                (cdb.to_vec(), Command::Read(place))
            }
            13 => (COPY.to_vec(), Command::Copy(place, to)),
            _ => (TEST_UNIT_READY.to_vec(), Command::Other),
        };
        let copy_list = copy_list(&self.bed, place, to);
        let guest = &mut self.bed.guests[number];
        let block = |stamp: u64| stamp.to_le_bytes().repeat(64);
        let allegiance = &mut self.allegiances[usize::from(target)];
        guest.attribute = match self.random.below(24) {
            0 | 1 => TASK_ATTR_ORDERED,
            2 => TASK_ATTR_HEAD,
            3..9 if number == 0 && allegiance.holds() => TASK_ATTR_ACA,
            3 if number == 0 && self.random.one_in(8) => TASK_ATTR_ACA,
            _ => TASK_ATTR_SIMPLE,
        };
        let naca = number == 0 && self.random.one_in(20);
        *cdb.last_mut().expect("CONTROL is its last byte") |= if naca { NACA } else { 0 };
        let id = match command {
            Command::Write(_, 0) => guest.send(queue, target, &cdb, Data::Out(&unmap_list(place.1))),
            Command::Write(_, stamp) => guest.send(queue, target, &cdb, Data::Out(&block(stamp))),
            Command::Compare(_, expected, None) => guest.send(queue, target, &cdb, Data::Out(&block(expected))),
            Command::Compare(_, expected, Some(stamp)) => {
                guest.send(queue, target, &cdb, Data::Out(&[block(expected), block(stamp)].concat()))
            }
            Command::Read(_) => guest.send(queue, target, &cdb, Data::In(512)),
            Command::Copy(..) => guest.send(queue, target, &cdb, Data::Out(&copy_list)),
            Command::Populate(_) | Command::Use(_) | Command::Other => guest.send(queue, target, &cdb, Data::Without),
        };
        let need = match command {
            Command::Write(..) | Command::Compare(_, _, Some(_)) => Need::Write,
            Command::Read(_) | Command::Compare(_, _, None) => Need::Read,
            Command::Copy(..) | Command::Populate(_) | Command::Use(_) => Need::Several,
            Command::Other => Need::Nothing,
        };
        self.sent((number, queue), target, id, (command, need), naca);
    }

    /// A guest sent a command, through this queue of its own.
    pub(super) fn sent(
        &mut self,
        (number, queue): (usize, usize),
        target: u8,
        id: u64,
        (command, need): (Command, Need),
        naca: bool,
    ) {
        let (name, place) = ((number, id), usize::from(target));
        self.models[number].sent(target, id, command);
        self.functions.sent(name, target, queue % CORES as usize);
        self.aborts[place].sent(name);
        let touches_medium = command.touches_medium() || matches!(need, Need::Read | Need::Write);
        self.work[place].sent(name, touches_medium, self.bed.disks[place].hold.is_busy());
        if number == 0 {
            self.allegiances[place].sent(id, self.bed.guests[0].attribute, naca);
        }
        if number != VISITOR {
            self.books[place].sent(number, id, need);
        }
        self.note_absence(number, target, id);
    }

    /// A guest changes what both share of a disk.
    pub(super) fn share(&mut self) {
        let number = self.random.below(2) as usize;
        let queue = if number == 0 { self.random.below(QUEUES) as usize } else { 0 };
        let target = self.random.below(DISKS) as u8;
        if self.bed.guests[number].open_in(queue + 2) >= OPEN_MAX || self.books[usize::from(target)].is_busy() {
            return;
        }
        let deed = self.deed();
        let (cdb, list) = deed.encode();
        let guest = &mut self.bed.guests[number];
        guest.attribute = TASK_ATTR_SIMPLE;
        let id = guest.send(queue, target, &cdb, if list.is_empty() { Data::Without } else { Data::Out(&list) });
        self.models[number].sent(target, id, Command::Other);
        self.functions.sent((number, id), target, queue % CORES as usize);
        self.aborts[usize::from(target)].sent((number, id));
        self.books[usize::from(target)].sent_deed(number, id, deed);
        let allegiance = &mut self.allegiances[usize::from(target)];
        match deed {
            Deed::Preempt { .. } if number != 0 => allegiance.sent_ender(number, id, false),
            _ if number == 0 => allegiance.sent(id, TASK_ATTR_SIMPLE, false),
            _ => {}
        }
        self.note_absence(number, target, id);
    }

    /// A command was sent to a unit that may be away.
    pub(super) fn note_absence(&mut self, number: usize, target: u8, id: u64) {
        let units = &self.units;
        if number == 0 && units.may_be_away(target.into()) {
            self.models[0].sent_to_nobody(id, units.is_gone(target.into()));
        }
    }

    /// Mostly what may be done, and more that ends a reservation than makes one: else nothing else would be seen.
    pub(super) fn deed(&mut self) -> Deed {
        let random = &mut self.random;
        let kind = [1, 3, 5, 6, 7, 8][random.below(6) as usize];
        let (key, other) = (random.below(3) as u8, random.below(3) as u8);
        match random.below(16) {
            0 | 1 => Deed::Register { key, new: other },
            2 | 3 => Deed::RegisterAndIgnore { new: other },
            4..7 => Deed::Reserve { key, kind },
            7 => Deed::Release { key, kind },
            8 | 9 => Deed::Clear { key },
            10 | 11 => Deed::Preempt { key, other, kind, abort: random.one_in(2) },
            12 => Deed::ReserveUnit,
            13 => Deed::ReleaseUnit,
            _ => Deed::SetState { group: random.below(2) as u8, state: [0, 0, 0, 2, 3][random.below(5) as usize] },
        }
    }

    pub(super) fn manage(&mut self) {
        let number = usize::from(self.random.one_in(4));
        let held = |target: &u8| self.allegiances[usize::from(*target)].may_hold();
        let held: Vec<_> = (0..DISKS as u8).filter(held).collect();
        if !held.is_empty() && self.bed.guests[0].open_in(0) < OPEN_MAX && self.random.one_in(3) {
            let target = held[self.random.below(held.len() as u64) as usize];
            return self.end_allegiance(target);
        }
        let guest = &mut self.bed.guests[number];
        if guest.open_in(0) >= OPEN_MAX {
            return;
        }
        let functions = [
            TMF_ABORT_TASK,
            TMF_ABORT_TASK,
            TMF_ABORT_TASK_SET,
            TMF_CLEAR_ACA,
            TMF_CLEAR_TASK_SET,
            TMF_LOGICAL_UNIT_RESET,
            TMF_I_T_NEXUS_RESET,
            TMF_QUERY_TASK,
            TMF_QUERY_TASK_SET,
        ];
        let function = functions[self.random.below(functions.len() as u64) as usize];
        let open = self.models[number].under_way();
        let id = if open.is_empty() { 0 } else { open[self.random.below(open.len() as u64) as usize] };
        let target = self.random.below(DISKS) as u8;
        let tmf = guest.manage(function, target, id);
        self.functions.sent_function((number, tmf), function, target, id);
        if matches!(function, TMF_LOGICAL_UNIT_RESET | TMF_I_T_NEXUS_RESET) {
            self.books[usize::from(target)].sent_reset(number, tmf, function == TMF_LOGICAL_UNIT_RESET);
            self.aborts[usize::from(target)].sent_reset((number, tmf));
        }
        let ends_own = matches!(function, TMF_LOGICAL_UNIT_RESET | TMF_I_T_NEXUS_RESET | TMF_CLEAR_ACA);
        if number == 0 && ends_own || function == TMF_LOGICAL_UNIT_RESET {
            self.allegiances[usize::from(target)].sent_ender(number, tmf, number == 0);
        }
    }

    /// CLEAR ACA.
    pub(super) fn end_allegiance(&mut self, target: u8) {
        let tmf = self.bed.guests[0].manage(TMF_CLEAR_ACA, target, 0);
        self.functions.sent_function((0, tmf), TMF_CLEAR_ACA, target, 0);
        self.allegiances[usize::from(target)].sent_ender(0, tmf, true);
    }
}

/// A list for EXTENDED COPY of a block, which is not remembered under a name.
fn copy_list(bed: &Bed, (from, from_lba): (u8, u8), (to, to_lba): (u8, u8)) -> Vec<u8> {
    let mut list = copy(bed, (from.into(), from_lba), (to.into(), to_lba));
    list[1] |= 0x18;
    list
}
