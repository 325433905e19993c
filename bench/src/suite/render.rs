//! Writes what is made of a record: JSON, table, plots, and the generated part of a page.

use std::path::Path;

use anyhow::{Context, Result};

use super::charts::{self, Named};
use super::options::SuiteOptions;
use super::record::Record;
use super::table;

/// Directory of plots, beside what shows them.
const PLOTS: &str = "plots";

/// Writes all of it, and prints the table.
///
/// # Errors
/// Something cannot be written.
pub fn write(record: &Record, options: &SuiteOptions) -> Result<()> {
    let charts = charts::all(record);
    let out = match options.render.first() {
        Some(path) => path.parent().unwrap_or(Path::new("")).to_owned(),
        None => options.out.clone(),
    };
    let plots = out.join(PLOTS);
    std::fs::create_dir_all(&plots).with_context(|| format!("cannot make {}", plots.display()))?;
    if options.render.is_empty() {
        save(&out.join("suite.json"), serde_json::to_string_pretty(record)?.as_bytes())?;
    }
    for Named { stem, chart } in &charts {
        save(&plots.join(format!("{stem}.svg")), chart.svg()?.as_bytes())?;
        save(&plots.join(format!("{stem}.png")), &chart.png()?)?;
    }
    let text = table::markdown(record, &links(&charts));
    save(&out.join("suite.md"), text.as_bytes())?;
    println!("{text}");
    if let Some(page) = &options.results {
        results(page, &text, &charts)?;
    }
    eprintln!("written to {}", out.display());
    Ok(())
}

/// File and caption of each plot.
fn links(charts: &[Named]) -> Vec<(String, String)> {
    charts.iter().map(|Named { stem, chart }| (format!("{PLOTS}/{stem}.svg"), chart.title.clone())).collect()
}

/// Replaces the generated part of a page, and the plots beside it.
fn results(page: &Path, text: &str, charts: &[Named]) -> Result<()> {
    let before = std::fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let plots = page.parent().unwrap_or(Path::new("")).join(PLOTS);
    std::fs::create_dir_all(&plots).with_context(|| format!("cannot make {}", plots.display()))?;
    for Named { stem, chart } in charts {
        save(&plots.join(format!("{stem}.svg")), chart.svg()?.as_bytes())?;
    }
    save(page, table::replace_section(&before, text).as_bytes())
}

fn save(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::super::options::tests::options;
    use super::super::record::tests::{point, record, side};
    use super::*;

    #[test]
    fn what_is_written_can_be_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let sides = vec![side("split", Some("limit"), &[5e5], "apart"), side("limit", None, &[1e6], "apart")];
        let record = record(vec![point("depth", "null", 32, 1, sides)]);
        let out = dir.path().join("out");
        write(&record, &options(&format!("--out {}", out.display()))).unwrap();
        let first = std::fs::read_to_string(out.join("suite.md")).unwrap();
        assert!(first.contains("| null | 32 | 1 | split | apart | 1 / 1 | 500 | 1000 | 0.50 |"), "{first}");
        assert!(out.join("plots/null-iops.png").exists());

        let page = dir.path().join("PAGE.md");
        std::fs::write(&page, "By hand.\n").unwrap();
        let json = out.join("suite.json");
        std::fs::remove_file(out.join("suite.md")).unwrap();
        let words = format!("--render {} --results {}", json.display(), page.display());
        write(&Record::read(&json).unwrap(), &options(&words)).unwrap();
        assert_eq!(std::fs::read_to_string(out.join("suite.md")).unwrap(), first);
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.starts_with("By hand.\n") && page.contains(first.trim()), "{page}");
        assert!(dir.path().join("plots/null-latency.svg").exists());
    }
}
