//! REPORT IDENTIFYING INFORMATION and SET IDENTIFYING INFORMATION (SPC-5): what a host calls a unit, kept for it.

use super::reply::Reply;
use super::sense::Sense;

/// Longest name that a host may give, in bytes.
pub const NAME_LEN_MAX: usize = 512;

/// Longest text that a host may leave, in bytes.
pub const TEXT_LEN_MAX: usize = 256;

/// What a host leaves with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identifying {
    /// Peripheral device identifying information: any bytes.
    Name,
    /// Peripheral device text identifying information: UTF-8 that ends with a zero byte.
    Text,
}

/// What hosts have left with one unit: all that its ports share of that.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    name: Vec<u8>,
    text: Vec<u8>,
}

impl Names {
    /// What was left.
    pub fn of(&self, kind: Identifying) -> &[u8] {
        match kind {
            Identifying::Name => &self.name,
            Identifying::Text => &self.text,
        }
    }

    /// SET IDENTIFYING INFORMATION, with a list no longer than [`Identifying::len_max`].
    pub fn keep(&mut self, kind: Identifying, list: &[u8]) {
        match kind {
            Identifying::Name => self.name = list.to_vec(),
            Identifying::Text => self.text = list.to_vec(),
        }
    }
}

/// REPORT IDENTIFYING INFORMATION.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportIdentifying {
    /// INFORMATION TYPE, 7 bits.
    pub information_type: u8,
    /// Bytes that the initiator has room for.
    pub allocation_length: u32,
}

/// INFORMATION TYPE: what types there are.
const SUPPORTED: u8 = 0x7f;

impl Identifying {
    pub(super) const ALL: [Self; 2] = [Self::Name, Self::Text];

    /// INFORMATION TYPE.
    pub const fn code(self) -> u8 {
        match self {
            Self::Name => 0x00,
            Self::Text => 0x02,
        }
    }

    /// Longest, in bytes.
    pub const fn len_max(self) -> usize {
        match self {
            Self::Name => NAME_LEN_MAX,
            Self::Text => TEXT_LEN_MAX,
        }
    }

    /// Whether `list` may be left.
    pub(super) fn check(self, list: &[u8]) -> Result<(), Sense> {
        match (self, list) {
            (Self::Name, _) | (Self::Text, []) => Ok(()),
            (Self::Text, [text @ .., 0]) if std::str::from_utf8(text).is_ok() => Ok(()),
            (Self::Text, _) => Err(Sense::invalid_parameter(0, None)),
        }
    }

    /// What an INFORMATION TYPE means.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// What was left, or what can be.
pub(super) fn report(request: &ReportIdentifying, names: &Names, reply: &mut Reply) -> Result<(), Sense> {
    reply.begin(request.allocation_length);
    let information = match Identifying::from_code(request.information_type) {
        Some(kind) => names.of(kind),
        None if request.information_type == SUPPORTED => {
            reply.put(&[0, 0, 0, 4 * Identifying::ALL.len() as u8]);
            for kind in Identifying::ALL {
                let [high, low] = (kind.len_max() as u16).to_be_bytes();
                reply.put(&[kind.code() << 1, 0, high, low]);
            }
            return Ok(());
        }
        None => return Err(Sense::invalid_field(10, Some(7))),
    };
    reply.put(&[0, 0]);
    reply.put(&(information.len() as u16).to_be_bytes());
    reply.put(information);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(information_type: u8, allocation_length: u32) -> Result<Vec<u8>, Sense> {
        let mut names = Names::default();
        names.keep(Identifying::Name, b"disk");
        names.keep(Identifying::Text, b"boot\0");
        names.keep(Identifying::Name, b"disk of vm7");
        let mut reply = Reply::new();
        report(&ReportIdentifying { information_type, allocation_length }, &names, &mut reply)?;
        Ok(reply.as_bytes().to_vec())
    }

    #[test]
    fn what_was_left() {
        assert_eq!(reported(0, 255), Ok(b"\0\0\0\x0bdisk of vm7".to_vec()));
        assert_eq!(reported(2, 255), Ok(b"\0\0\0\x05boot\0".to_vec()));
        assert_eq!(reported(2, 6), Ok(b"\0\0\0\x05bo".to_vec()));
        let mut reply = Reply::new();
        let request = ReportIdentifying { information_type: 0, allocation_length: 64 };
        assert_eq!(report(&request, &Names::default(), &mut reply), Ok(()));
        assert_eq!(reply.as_bytes(), [0; 4]);
    }

    #[test]
    fn what_can_be_left() {
        assert_eq!(reported(0x7f, 255), Ok(vec![0, 0, 0, 8, 0, 0, 2, 0, 4, 0, 1, 0]));
    }

    #[test]
    fn other_types() {
        for code in (0..0x7f).filter(|code| ![0, 2].contains(code)) {
            assert_eq!(reported(code, 255), Err(Sense::invalid_field(10, Some(7))));
        }
    }
}
