//! What load was asked for, for programs that compare results: every option that makes a difference, under its own name.

use std::path::Path;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::options::{LoadOptions, RingOptions};

/// The options of a run. `others` are those of what is loaded, its ring apart: they become fields of an object.
///
/// Defaults are told as what they came to, sizes and times in bytes and seconds.
pub fn options(load: &LoadOptions, ring: Option<&RingOptions>, others: &impl Serialize) -> Value {
    let sizes = load.split().0.into_iter().map(|(bytes, percent)| json!({ "bytes": bytes, "percent": percent }));
    let mut all = fields(json!({
        "rw": load.rw,
        "sizes": sizes.collect::<Vec<_>>(),
        "rwmixread": load.rwmixread,
        "iodepth": load.iodepth,
        "runtime_s": load.runtime.as_secs_f64(),
        "ramp_s": load.ramp.as_secs_f64(),
        "number_ios": load.number_ios,
        "size": load.size,
        "verify": load.verify,
        "seed": load.seed,
        "rate": load.rate,
        "cpus": load.cpus().ok(),
    }));
    if let Some(ring) = ring {
        all.extend(fields(json!(ring)));
        all.insert("busy_queues".into(), ring.busy().into());
    }
    all.extend(fields(serde_json::to_value(others).unwrap_or_default()));
    Value::Object(all)
}

fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// A path that need not be UTF-8.
pub fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::words::{LimitWords, RawWords, RunWords};
    use super::*;

    #[test]
    fn every_option_is_there_under_its_name() {
        let words = "run --socket a.sock --rw randrw --bssplit 4k/60:64k --queues 4 --busy-queues 2 --ring packed --indirect \
                     --segments 3 --iodepth 8 --runtime 500ms --ramp 0 --rate 100 --cpus 0,2 --luns 2 --verify";
        let RunWords { device, ring, load } = RunWords::parse_from(words.split_whitespace());
        let told = options(&load, Some(&ring), &device);
        let expected = json!({
            "rw": "randrw", "sizes": [{ "bytes": 4096, "percent": 60 }, { "bytes": 65536, "percent": 40 }],
            "rwmixread": 50, "iodepth": 8, "runtime_s": 0.5, "ramp_s": 0.0, "number_ios": null, "size": null, "verify": true,
            "seed": 1, "rate": 100, "cpus": [0, 2],
            "queues": 4, "busy_queues": 2, "ring": "packed", "queue_size": 256, "indirect": true, "segments": 3,
            "align_offset": 0, "scatter": false,
            "socket": "a.sock", "target": 0, "lun": 0, "luns": 2, "regions": 1, "polling": false, "target_cpu": null,
            "any_placement": false,
        });
        assert_eq!(told, expected);
    }

    #[test]
    fn a_limit_tells_its_logical_units() {
        let LimitWords { limit, ring, load } =
            LimitWords::parse_from("limit --device-cpu 0 --cpus 1 --luns 256".split_whitespace());
        let told = options(&load, Some(&ring), &limit);
        assert_eq!((&told["luns"], &told["device_cpu"]), (&json!(256), &json!(0)));
    }

    #[test]
    fn a_file_has_no_ring_but_queues() {
        let RawWords { raw, load } =
            RawWords::parse_from("raw --file f --fixed --queues 2 --cpus 0 --yield 3".split_whitespace());
        let told = options(&load, None, &raw);
        assert_eq!((&told["file"], &told["fixed"], &told["queues"]), (&json!("f"), &json!(true), &json!(2)));
        assert_eq!(told["yield"], json!(3));
        assert_eq!((&told["sizes"][0]["bytes"], &told["ring"]), (&json!(4096), &Value::Null));
    }
}
