//! Instructions that the target takes for an I/O: counted by `scripts/instructions`, which has callgrind do it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::record::Figure;

/// The script, from the directory of the source.
const SCRIPT: &str = "scripts/instructions";
/// What its figure is followed by.
const LABEL: &str = "instructions for each I/O";

/// The directory of the source that this program was built in: the one above `target/PROFILE`.
pub fn tree() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.ancestors().skip(1).find(|dir| dir.join(SCRIPT).is_file()).map(Path::to_owned)
}

/// Counts, on null at depth 32. `Err` inside says why that cannot be done here.
///
/// # Errors
/// It can, and fails.
pub fn count(tree: Option<&Path>) -> Result<Result<Vec<Figure>, String>> {
    let Some(tree) = tree else { return Ok(Err(format!("there is no {SCRIPT} above this program"))) };
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Ok(Err("valgrind is not installed".into()));
    }
    let words = ["--seconds", "2", "--top", "1", "--", "--iodepth", "32"];
    let output =
        Command::new(tree.join(SCRIPT)).args(words).output().with_context(|| format!("cannot run {SCRIPT}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{SCRIPT}: {}", said.trim());
    let found = parse(&String::from_utf8_lossy(&output.stdout)).with_context(|| format!("{SCRIPT} says no figure"))?;
    let text = "instructions an I/O in the target, null, depth 32, idle passes apart".to_owned();
    Ok(Ok(vec![Figure::new("instructions", text, found, "")]))
}

fn parse(text: &str) -> Option<f64> {
    text.lines().find(|line| line.ends_with(LABEL))?.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figure_is_found() {
        let text = "    334.5  instructions for each I/O\n     16.0  I/Os in each busy pass\n";
        assert_eq!(parse(text), Some(334.5));
        assert_eq!(parse("nothing"), None);
    }

    #[test]
    fn a_machine_without_the_source_is_told() {
        assert!(count(None).unwrap().unwrap_err().contains(SCRIPT));
    }
}
