//! VERSION: what the client offers, and what we answer.

use rustix::io::Errno;
use serde_json::{Map, Value};
use zerocopy::{FromBytes, IntoBytes};

use super::device::ClientLimits;
use super::spec::{DATA_XFER_BYTES_MAX, DMA_MAPS_MAX, MSG_FDS_MAX, PAGE_SIZES, VERSION_MAJOR, VERSION_MINOR, Version};

/// The most JSON, in bytes, that is looked at. Clients send about 200.
const JSON_BYTES_MAX: usize = 4096;
/// A client that claims to take more descriptors in a message than this is not believed.
const CLIENT_FDS_MAX: u64 = 1024;

/// Reads the client's VERSION and writes the payload of our reply to `reply`.
///
/// # Errors
/// `EINVAL` if the major version is not ours, or the text is not what the specification says.
pub fn negotiate(payload: &[u8], reply: &mut Vec<u8>) -> Result<ClientLimits, Errno> {
    let (version, text) = Version::read_from_prefix(payload).map_err(|_| Errno::INVAL)?;
    if version.major != VERSION_MAJOR {
        return Err(Errno::INVAL);
    }
    let limits = parse_limits(text)?;
    let minor = version.minor.min(VERSION_MINOR);
    reply.extend_from_slice(Version { major: VERSION_MAJOR, minor }.as_bytes());
    reply.extend_from_slice(our_capabilities().as_bytes());
    reply.push(0);
    Ok(limits)
}

fn our_capabilities() -> String {
    serde_json::json!({ "capabilities": {
        "max_msg_fds": MSG_FDS_MAX,
        "max_data_xfer_size": DATA_XFER_BYTES_MAX,
        "max_dma_maps": DMA_MAPS_MAX,
        "pgsizes": PAGE_SIZES,
        "write_multiple": true,
    }})
    .to_string()
}

/// The text may be missing, and its NUL too. What is not known is passed over; what is known must have the right type.
fn parse_limits(text: &[u8]) -> Result<ClientLimits, Errno> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Ok(ClientLimits::default());
    }
    if text.len() > JSON_BYTES_MAX {
        return Err(Errno::INVAL);
    }
    // The parser itself refuses text that is nested deeply.
    let offer: Value = serde_json::from_slice(text).map_err(|_| Errno::INVAL)?;
    let Some(capabilities) = object(offer.as_object().ok_or(Errno::INVAL)?, "capabilities")? else {
        return Ok(ClientLimits::default());
    };
    if let Some(migration) = object(capabilities, "migration")? {
        number(migration, "pgsize", 0)?;
    }
    limits_from(capabilities)
}

fn limits_from(capabilities: &Map<String, Value>) -> Result<ClientLimits, Errno> {
    let default = ClientLimits::default();
    let max_msg_fds = number(capabilities, "max_msg_fds", default.max_msg_fds.into())?;
    let max_data_xfer_size = number(capabilities, "max_data_xfer_size", default.max_data_xfer_size.into())?;
    let max_dma_maps = number(capabilities, "max_dma_maps", default.max_dma_maps.into())?;
    if max_msg_fds > CLIENT_FDS_MAX || max_data_xfer_size == 0 {
        return Err(Errno::INVAL);
    }
    let write_multiple = match capabilities.get("write_multiple") {
        None => default.write_multiple,
        Some(value) => value.as_bool().ok_or(Errno::INVAL)?,
    };
    Ok(ClientLimits {
        max_msg_fds: saturate(max_msg_fds),
        max_data_xfer_size: saturate(max_data_xfer_size),
        max_dma_maps: saturate(max_dma_maps),
        pgsizes: number(capabilities, "pgsizes", default.pgsizes)?,
        write_multiple,
    })
}

fn saturate(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn object<'a>(parent: &'a Map<String, Value>, key: &str) -> Result<Option<&'a Map<String, Value>>, Errno> {
    parent.get(key).map(|value| value.as_object().ok_or(Errno::INVAL)).transpose()
}

fn number(parent: &Map<String, Value>, key: &str, default: u64) -> Result<u64, Errno> {
    parent.get(key).map_or(Ok(default), |value| value.as_u64().ok_or(Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfio_user::spec::{HEADER_BYTES, VERSION_REPLY_BYTES_MAX};

    fn with_text(text: &[u8]) -> Result<ClientLimits, Errno> {
        negotiate(&[&[0, 0, 1, 0], text].concat(), &mut Vec::new())
    }

    #[test]
    fn our_answer_is_json_with_a_nul_and_short_enough_for_qemu() {
        let mut reply = Vec::new();
        negotiate(&[0, 0, 1, 0], &mut reply).unwrap();
        assert!(HEADER_BYTES + reply.len() <= VERSION_REPLY_BYTES_MAX);
        assert_eq!(reply[..4], [0, 0, 1, 0]);
        assert_eq!(reply.pop(), Some(0));
        let value: Value = serde_json::from_slice(&reply[4..]).unwrap();
        let capabilities = &value["capabilities"];
        assert_eq!(capabilities["max_msg_fds"], 16);
        assert_eq!(capabilities["max_data_xfer_size"], 1 << 20);
        assert_eq!(capabilities["pgsizes"], 4096);
        assert_eq!(capabilities["max_dma_maps"], 4096);
        assert_eq!(capabilities["write_multiple"], true);
    }

    #[test]
    fn the_minor_version_is_at_most_what_was_proposed() {
        for (proposed, answered) in [(0, 0), (1, 1), (2, 1), (255, 1)] {
            let mut reply = Vec::new();
            negotiate(&[0, 0, proposed, 0], &mut reply).unwrap();
            assert_eq!(reply[2], answered);
        }
    }

    #[test]
    fn another_major_or_a_short_message_is_refused() {
        assert_eq!(negotiate(&[1, 0, 0, 0], &mut Vec::new()), Err(Errno::INVAL));
        for short in 0..4 {
            assert_eq!(negotiate(&[0; 3][..short.min(3)], &mut Vec::new()), Err(Errno::INVAL));
        }
    }

    #[test]
    fn text_may_be_missing_or_lack_its_nul() {
        let default = ClientLimits::default();
        for text in ["", "\0", "{}", "{}\0", "{\"capabilities\":{}}", "{\"other\":[1]}\0", "{}\0garbage"] {
            assert_eq!(with_text(text.as_bytes()), Ok(default), "{text:?}");
        }
    }

    #[test]
    fn what_qemu_offers_is_understood() {
        let text = br#"{"capabilities": {"migration": {"pgsize": 4096}, "max_msg_fds": 16, "pgsizes": 4096,
            "max_dma_maps": 65535, "max_data_xfer_size": 1048576, "write_multiple": true,
            "twin_socket": {"supported": true}}}"#;
        let expected = ClientLimits { max_msg_fds: 16, write_multiple: true, ..ClientLimits::default() };
        assert_eq!(with_text(text), Ok(expected));
        let text = br#"{"capabilities": {"max_data_xfer_size": 99999999999}}"#;
        assert_eq!(with_text(text).unwrap().max_data_xfer_size, u32::MAX);
    }

    #[test]
    fn garbage_is_refused() {
        let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
        let long = format!("{{\"x\":\"{}\"}}", "x".repeat(JSON_BYTES_MAX));
        for text in [
            "{",
            "\"",
            "[]",
            "1",
            "null",
            "\u{1}",
            r#"{"capabilities":"23"}"#,
            r#"{"capabilities":null}"#,
            r#"{"capabilities":{"max_msg_fds":"foo"}}"#,
            r#"{"capabilities":{"max_msg_fds":-1}}"#,
            r#"{"capabilities":{"max_msg_fds":1.5}}"#,
            r#"{"capabilities":{"max_msg_fds":1025}}"#,
            r#"{"capabilities":{"max_data_xfer_size":0}}"#,
            r#"{"capabilities":{"max_data_xfer_size":true}}"#,
            r#"{"capabilities":{"write_multiple":1}}"#,
            r#"{"capabilities":{"migration":"23"}}"#,
            r#"{"capabilities":{"migration":{"pgsize":"foo"}}}"#,
            &deep,
            &long,
        ] {
            assert_eq!(with_text(text.as_bytes()), Err(Errno::INVAL), "{text:.40}");
        }
        assert_eq!(with_text(&[0xff, 0xfe]), Err(Errno::INVAL));
    }
}
