use super::*;

fn read(text: &str) -> Result<Wanted, String> {
    let (kind, rest) = Kind::split(text)?;
    let mut keys = Keys::read(kind, rest)?;
    let wanted = Wanted::read(kind, &mut keys)?;
    keys.finish(kind, Wanted::keys().into_iter().map(|key| key.name))?;
    Ok(wanted)
}

fn wanted(text: &str) -> Wanted {
    read(text).expect(text)
}

#[test]
fn kinds_read_their_own_keys() {
    let says = |text| wanted(text).says;
    let auto = r#"File { path: "a/disk.img", direct: Auto, engine: Auto, iopoll: Auto }"#;
    assert_eq!((says("a/disk.img"), says("file:path=a/disk.img,direct=auto")), (auto.to_owned(), auto.to_owned()));
    assert_eq!(wanted("path=a,,b=c.img").data(), Data::At(Path::new("a,b=c.img")));
    for (text, part) in [
        ("uring:x", "engine: Uring"),
        ("threads:x", "engine: Threads"),
        ("./null", "engine: Auto"),
        ("x,iopoll=on", "iopoll: On"),
        ("uring:x,iopoll=off", "iopoll: Off"),
        ("x,direct=on", "direct: On"),
        ("nvme:/dev/ng0n1,iopoll=on", r#"Nvme { path: "/dev/ng0n1", iopoll: On }"#),
        ("nvme:/dev/ng0n1,ro", "iopoll: Auto"),
    ] {
        assert!(says(text).contains(part), "{text}: {}", says(text));
    }
    assert_eq!(
        (says("null:size=1T,block-size=4096"), says("mem:size=64M")),
        ("1099511627776".into(), "67108864".into())
    );
    assert_eq!((wanted("null:size=1T").data(), wanted("mem:size=64M").data()), (Data::Nowhere, Data::Memory));
    let Common { block_size, read_only } = wanted("x,ro,block-size=4096").common;
    assert_eq!((block_size, read_only), (Some(4096), true));
    for kind in KINDS {
        wanted(kind.example);
    }
}

#[test]
fn each_kind_takes_the_keys_that_it_names_and_refuses_those_of_others() {
    let value = |name: &str| if name == "size" { "1G" } else { "auto" };
    for kind in KINDS {
        for key in KINDS.iter().flat_map(|kind| kind.keys) {
            let takes = kind.keys.iter().any(|own| own.name == key.name);
            let text = match kind.example {
                example if takes && (key.name == "path" || key.name == "size") => example.to_owned(),
                example => format!("{example},{}={}", key.name, value(key.name)),
            };
            match read(&text) {
                Ok(_) => assert!(takes, "{text}"),
                Err(why) => {
                    assert!(!takes && why == format!("'{}' does not fit a {} disk", key.name, kind.name), "{why}")
                }
            }
        }
    }
}

#[test]
fn wrappers_stand_around_each_other_whatever_the_order_of_the_keys() {
    let around = |text| format!("{:?}", wanted(text).wrappers);
    assert_eq!((around("x"), around("x,cancel=yes")), ("[]".to_owned(), "[]".to_owned()));
    let all = around("x,cancel=no,delay=5ms,error-rate=0.0125,error=medium@4K-1M,error-ops=read+flush,split=1G+512M");
    assert_eq!(
        all,
        "[Part(1073741824..1610612736), Errors { error: Medium, range: 4096..1048576, rate: 0.0125, kinds: Kinds(5) }, \
         Late { delay: 5ms, cancels: false }]"
    );
    let gone = around("x,error=gone");
    assert_eq!(gone, format!("[{:?}]", crate::Errors::all(crate::IoError::Gone)));
    let device = wanted("mem:size=1M,delay=5ms,error-rate=0.5,error=gone@0-4K,split=64K+128K,error-ops=read+flush");
    let bdev = device.wrap(device.open().unwrap()).unwrap();
    assert_eq!(bdev.info().size(), 128 << 10);
    let said = &bdev.info().description;
    let parts = ["mem, 1 MiB", "128 KiB at 64 KiB", "0.5 of read+flush", "device is gone", "delayed: reads 5ms"];
    let places: Vec<_> = parts.iter().map(|part| said.find(part).expect(said)).collect();
    assert!(places.is_sorted(), "{said}");
}

#[test]
fn two_are_the_same_if_they_say_the_same() {
    assert_eq!(wanted("x,direct=auto,delay=1ms"), wanted("file:path=x,delay=1000us"));
    for other in ["y", "x,ro", "x,block-size=512", "x,direct=off", "uring:x", "x,split=0+1M", "x,delay=1ms"] {
        assert_ne!(wanted("x"), wanted(other), "{other}");
    }
    let part = |text| wanted(text);
    assert!(part("x,split=0+1M").is_on_device_of(&part("x,split=1M+1M,delay=1s")));
    assert!(!part("x,split=0+1M").is_on_device_of(&part("x,split=1M+1M,ro")));
    assert!(part("x,split=0+1M,ro").is_on_data_of(&part("x,split=0+1M,delay=1s")));
    assert!(!part("x,split=0+1M").is_on_data_of(&part("x")));
    let sizeless = |text| wanted(text).without_size();
    assert_eq!(
        (sizeless("mem:size=1M"), sizeless("null:size=1M")),
        (sizeless("mem:size=2M"), sizeless("null:size=2M"))
    );
    assert_ne!(sizeless("mem:size=1M"), sizeless("null:size=1M"));
    assert_ne!(sizeless("mem:size=1M"), sizeless("mem:size=1M,ro"));
    assert_ne!(sizeless("x"), sizeless("y"), "files are where they are");
}

#[test]
fn parts_of_one_file_have_names_of_their_own() {
    let name = |text| wanted(text).stable_name();
    assert_eq!(
        (name("null:size=1M"), name("mem:size=1K,split=512+512")),
        ("null:1048576".into(), "mem:1024:512+512".into())
    );
    assert_eq!(name("/nowhere/x,split=0+1M"), "file:/nowhere/x:0+1048576");
    assert_eq!(name("uring:/nowhere/x,direct=off"), name("/nowhere/x"), "whoever serves it");
    assert_ne!(name("x,split=0+1M"), name("x,split=1M+1M"));
}

#[test]
fn disks_without_a_medium_can_be_read_only_too() {
    for text in ["mem:size=1M", "null:size=1M", "mem:size=1M,split=0+512K,delay=1ms"] {
        let read_only = |text: &str| wanted(text).wrap(wanted(text).open().unwrap()).unwrap().info().read_only;
        assert!(!read_only(text) && read_only(&format!("{text},ro")), "{text}");
    }
}
