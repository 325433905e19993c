//! The configuration file, in TOML.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use serde::Deserialize;

use super::scope::{self, Draft};
use super::{AccessState, ConfigError, CpuSet, DiskConfig, Idle, QueueCpus, Register, RingFormat, ServeConfig, port};

/// Longest file, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The whole file. The keys outside of `[[controller]]` are for all controllers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    register: Register,
    #[serde(rename = "state-dir")]
    state_dir: Option<PathBuf>,
    idle: Option<Idle>,
    #[serde(default, deserialize_with = "from_text")]
    cpumask: Option<CpuSet>,
    queues: Option<u32>,
    #[serde(default, rename = "queue-cpus", deserialize_with = "from_text")]
    queue_cpus: Option<QueueCpus>,
    ring: Option<RingFormat>,
    #[serde(rename = "port-group")]
    port_group: Option<u16>,
    #[serde(rename = "access-state")]
    access_state: Option<AccessState>,
    #[serde(default)]
    disks: Vec<Disk>,
    #[serde(default)]
    controller: Vec<Controller>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Controller {
    socket: PathBuf,
    idle: Option<Idle>,
    #[serde(default, deserialize_with = "from_text")]
    cpumask: Option<CpuSet>,
    queues: Option<u32>,
    #[serde(default, rename = "queue-cpus", deserialize_with = "from_text")]
    queue_cpus: Option<QueueCpus>,
    ring: Option<RingFormat>,
    #[serde(rename = "port-group")]
    port_group: Option<u16>,
    #[serde(rename = "access-state")]
    access_state: Option<AccessState>,
    #[serde(default)]
    disks: Vec<Disk>,
}

/// A disk string, as `--disk` takes it.
#[derive(Debug)]
struct Disk(Arc<DiskConfig>);

impl<'de> Deserialize<'de> for Disk {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let disk = DiskConfig::parse(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(Arc::new(disk)))
    }
}

/// What is written as on the command line.
fn from_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: FromStr<Err = ConfigError>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

/// A configuration file that was given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Where it is.
    pub path: PathBuf,
    /// What stood beside it on the command line: for all controllers, whatever the file says.
    pub idle: Option<Idle>,
}

impl ConfigFile {
    /// Reads it, as it is now.
    ///
    /// # Errors
    /// [`ConfigError`]: what is wrong, with the line where it stands.
    pub fn read(&self) -> Result<ServeConfig, ConfigError> {
        let mut config = read(&self.path)?;
        for controller in &mut config.controllers {
            controller.idle = self.idle.unwrap_or(controller.idle);
        }
        config.file = Some(self.clone());
        Ok(config)
    }
}

fn read(path: &Path) -> Result<ServeConfig, ConfigError> {
    let name = || path.display().to_string();
    let text = read_text(path).map_err(|error| ConfigError::File { path: name(), why: error.to_string() })?;
    parse(&text).map_err(|error| match error {
        FileError::Toml(error) => {
            let (line, why) = (line_of(&error, &text), one_line(error.message()));
            ConfigError::FileLine { path: name(), line, why }
        }
        FileError::Config(error) => error,
    })
}

/// Never reads much more than it may take: the file may be a device.
fn read_text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("it is longer than 16 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

/// The line where a mistake begins, from 1 on.
fn line_of(error: &toml::de::Error, text: &str) -> usize {
    let start = error.span().map_or(0, |span| span.start);
    text.bytes().take(start).filter(|&byte| byte == b'\n').count() + 1
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[derive(Debug)]
enum FileError {
    Toml(toml::de::Error),
    Config(ConfigError),
}

fn parse(text: &str) -> Result<ServeConfig, FileError> {
    let file: File = toml::from_str(text).map_err(FileError::Toml)?;
    let disks = |disks: Vec<Disk>| disks.into_iter().map(|disk| disk.0).collect();
    let common = Draft {
        socket: None,
        cpus: file.cpumask,
        queues: file.queues,
        queue_cpus: file.queue_cpus,
        idle: file.idle,
        ring: file.ring,
        port_group: file.port_group,
        access_state: file.access_state,
        disks: disks(file.disks),
    };
    let draft = |c: Controller| Draft {
        socket: Some(c.socket),
        cpus: c.cpumask,
        queues: c.queues,
        queue_cpus: c.queue_cpus,
        idle: c.idle,
        ring: c.ring,
        port_group: c.port_group,
        access_state: c.access_state,
        disks: disks(c.disks),
    };
    let drafts: Vec<_> = file.controller.into_iter().map(draft).collect();
    let controllers = scope::finish(&common, &drafts).map_err(FileError::Config)?;
    let state_dir = file.state_dir.or_else(port::default_state_dir);
    Ok(ServeConfig { controllers, state_dir, register: file.register, register_chunk: None, file: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_controllers() {
        let config = parse(
            r#"
            idle = "spin"
            state-dir = "/var/tmp/a"
            register = "off"
            cpumask = "[0-1]"
            ring = "packed"
            disks = ["null:size=1G"]

            [[controller]]
            socket = "a.sock"
            queues = 4
            queue-cpus = "1-2:0"
            disks = ["path=a.img,serial=A1", "mem:size=64M"]

            [[controller]]
            socket = "b.sock"
            cpumask = "0x2"
            ring = "split"
            idle = "sleep"
            port-group = 2
            access-state = "non-optimized"
            "#,
        )
        .unwrap();
        assert_eq!(config.register, Register::Off);
        assert_eq!(config.state_dir, Some("/var/tmp/a".into()));
        let [a, b] = &config.controllers[..] else { panic!("two controllers") };
        assert_eq!((a.queues, a.disks.len(), b.queues, b.disks.len()), (4, 3, 1, 1));
        assert_eq!((a.ring, b.ring), (RingFormat::Packed, RingFormat::Split));
        assert_eq!((a.idle, b.idle), (Idle::Spin, Idle::Sleep));
        assert_eq!((a.port_group, b.port_group, b.access_state), (None, Some(2), AccessState::NonOptimized));
        assert_eq!([0, 1, 2].map(|queue| a.queue_cpus.of(queue)), [None, Some(0), Some(0)]);
        assert!(Arc::ptr_eq(&a.disks[0].disk, &b.disks[0].disk));
    }

    #[test]
    fn mistakes_name_the_line() {
        for (text, line, part) in [
            ("[[controller]]\nsocket = \"a\"\ncolour = 1", 3, "colour"),
            ("[[controller]]\nsocket = \"a\"\ndisks = [\"x,colour=1\"]", 3, "colour"),
            ("[[controller]]\nsocket = \"a\"\ncpumask = \"9\"", 3, "bad CPU mask '9'"),
            ("ring = \"round\"", 1, "round"),
            ("[[controller]]\nsocket = \"a\"\nqueue-cpus = \"1\"", 3, "bad queue CPUs '1'"),
            ("[[controller]]\nqueues = 1", 1, "socket"),
        ] {
            let Err(FileError::Toml(error)) = parse(text) else { panic!("{text}") };
            assert!(error.message().contains(part), "{text}: {error}");
            assert_eq!(line_of(&error, text), line, "{text}: {error}");
        }
        assert!(matches!(parse(""), Err(FileError::Config(ConfigError::NoController))));
    }
}
