//! Saved mode pages of one disk as bytes that outlive a loss of power: what each of its target ports has saved.
//!
//! All numbers are big-endian: a magic number, a version, the count, then for each port the address of its initiator and the
//! [`ModeState`], and a checksum over all of that. What does not add up is not believed.

use super::super::hash::fnv1a_64;
use super::super::reservations::SasAddress;
use super::state::ModeState;

const MAGIC: &[u8; 8] = b"ANNULMP\0";
const VERSION: u32 = 1;
/// Magic number, version and count.
const HEADER_LEN: usize = 8 + 4 + 4;
const PORT_LEN: usize = 8 + 8;
const CHECKSUM_LEN: usize = 8;
/// Ports that are remembered; of more, those that saved last.
const PORTS_MAX: usize = 256;

/// What the ports of a disk have saved, by the address of the initiator at their other end, which stays what it is. The port that
/// saved last stands last.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SavedModes(Vec<(SasAddress, ModeState)>);

impl SavedModes {
    /// Most bytes of an image.
    pub const IMAGE_LEN_MAX: usize = HEADER_LEN + PORTS_MAX * PORT_LEN + CHECKSUM_LEN;

    /// What a port starts with; none if it never saved anything.
    pub fn of(&self, port: SasAddress) -> Option<ModeState> {
        self.0.iter().find(|(its, _)| *its == port).map(|&(_, state)| state.restored())
    }

    /// A port saves what `state` has saved.
    pub fn keep(&mut self, port: SasAddress, state: ModeState) {
        self.0.retain(|(its, _)| *its != port);
        if self.0.len() == PORTS_MAX {
            self.0.remove(0);
        }
        self.0.push((port, state.restored()));
    }

    /// What is to outlive a loss of power.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut image = [&MAGIC[..], &VERSION.to_be_bytes(), &(self.0.len() as u32).to_be_bytes()].concat();
        for (port, state) in &self.0 {
            image.extend(port.0.to_be_bytes());
            image.extend(state.to_bytes());
        }
        let checksum = fnv1a_64(image.iter().copied());
        image.extend(checksum.to_be_bytes());
        image
    }

    /// From the bytes of [`to_bytes`](Self::to_bytes); none if they are not such bytes.
    pub fn from_bytes(image: &[u8]) -> Option<Self> {
        let (body, checksum) = image.split_last_chunk::<CHECKSUM_LEN>()?;
        let (header, ports) = body.split_at_checked(HEADER_LEN)?;
        let (ports, rest) = ports.as_chunks::<PORT_LEN>();
        let count = u32::try_from(ports.len()).ok().filter(|_| ports.len() <= PORTS_MAX && rest.is_empty())?;
        let expected = [&MAGIC[..], &VERSION.to_be_bytes(), &count.to_be_bytes()].concat();
        if header != expected || u64::from_be_bytes(*checksum) != fnv1a_64(body.iter().copied()) {
            return None;
        }
        let port = |bytes: &[u8; PORT_LEN]| {
            let (address, state) = (bytes.first_chunk()?, bytes.last_chunk()?);
            Some((SasAddress(u64::from_be_bytes(*address)), ModeState::from_bytes(*state)?))
        };
        ports.iter().map(port).collect::<Option<_>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::ModeValues;
    use super::*;

    const ADDRESS: SasAddress = SasAddress(0x3000_0000_0000_0001);
    const STATE: ModeState = ModeState { current: ModeValues::SWP, saved: ModeValues::D_SENSE };

    #[test]
    fn each_port_finds_what_it_saved_last() {
        let mut saved = SavedModes::default();
        assert_eq!(saved.of(ADDRESS), None);
        saved.keep(ADDRESS, ModeState::default());
        saved.keep(SasAddress(2), ModeState::default());
        saved.keep(ADDRESS, STATE);
        assert_eq!(saved.of(ADDRESS), Some(STATE.restored()));
        assert_eq!(saved.of(SasAddress(2)), Some(ModeState::default()));
        assert_eq!(SavedModes::from_bytes(&saved.to_bytes()), Some(saved));
    }

    #[test]
    fn the_image_is_as_it_is_described() {
        let mut saved = SavedModes::default();
        saved.keep(ADDRESS, STATE);
        let image = saved.to_bytes();
        let expected = b"ANNULMP\0\0\0\0\x01\0\0\0\x01\x30\0\0\0\0\0\0\x01\x01\0\0\0\0\0\0\x02";
        assert_eq!((&image[..32], image.len()), (&expected[..], 40));
    }

    #[test]
    fn what_does_not_add_up_is_not_believed() {
        let mut saved = SavedModes::default();
        saved.keep(ADDRESS, STATE);
        let image = saved.to_bytes();
        for byte in 0..image.len() {
            for bit in 0..8 {
                let mut changed = image.clone();
                changed[byte] ^= 1 << bit;
                assert_eq!(SavedModes::from_bytes(&changed), None, "byte {byte}, bit {bit}");
            }
            assert_eq!(SavedModes::from_bytes(&image[..byte]), None, "{byte} bytes");
        }
        let mut body = [&image[..24], &[0xff; 8]].concat();
        body.extend(fnv1a_64(body.iter().copied()).to_be_bytes());
        assert_eq!(SavedModes::from_bytes(&body), None, "a state that there is not");
    }

    #[test]
    fn the_ports_that_saved_last_are_remembered() {
        let mut saved = SavedModes::default();
        (0..=PORTS_MAX as u64).for_each(|port| saved.keep(SasAddress(port), STATE));
        assert_eq!((saved.of(SasAddress(0)), saved.of(SasAddress(1))), (None, Some(STATE.restored())));
        assert_eq!(saved.to_bytes().len(), SavedModes::IMAGE_LEN_MAX);
        assert_eq!(SavedModes::from_bytes(&saved.to_bytes()), Some(saved));
    }
}
