use super::*;
use crate::config::{self, Command};

/// The configuration of a command line.
fn config(words: &str) -> ServeConfig {
    let words = format!("annulus serve {words}");
    let Ok(Command::Serve(config)) = config::parse(words.split_whitespace()) else { panic!("{words}") };
    config
}

fn way(before: &str, after: &str) -> Result<Plan, PlanError> {
    plan(&config(before).controllers, &config(after))
}

type Told<'a> = Vec<(u8, u16, &'a str)>;

fn told(disks: &[PlacedDisk]) -> Told<'_> {
    disks.iter().map(|placed| (placed.target, placed.lun, placed.disk.text.as_str())).collect()
}

/// The only thing that changes is one controller: what goes and what comes.
fn one(plan: &Plan) -> (Told<'_>, Told<'_>) {
    let [change] = &plan.changed[..] else { panic!("{plan:?}") };
    (told(&change.remove), told(&change.add))
}

#[test]
fn the_same_again_is_no_change() {
    let words = "--disk s.img,ro --socket a --disk x --disk mem:size=1M --disk mem:size=1M --socket b --disk y,lun=3";
    let plan = way(words, words).unwrap();
    assert!(
        plan.gone.is_empty() && plan.new.is_empty() && plan.changed.is_empty() && plan.resized.is_empty(),
        "{plan:?}"
    );
}

#[test]
fn disks_come_and_go_and_the_others_stay_where_they_are() {
    let plan = way("--socket a --disk x --disk y --disk z", "--socket a --disk z --disk x --disk w").unwrap();
    assert_eq!(one(&plan), (vec![(1, 0, "y")], vec![(1, 0, "w")]));
    assert_eq!(told(&plan.changed[0].config.disks), [(0, 0, "x"), (1, 0, "w"), (2, 0, "z")]);
}

#[test]
fn a_disk_that_moves_is_not_opened_again() {
    let before = config("--socket a --disk x,target=1");
    let plan = plan(&before.controllers, &config("--socket a --disk path=x,target=2,lun=5")).unwrap();
    assert_eq!(one(&plan), (vec![(1, 0, "x,target=1")], vec![(2, 5, "x,target=1")]));
    assert!(Arc::ptr_eq(&plan.changed[0].add[0].disk, &before.controllers[0].disks[0].disk));
}

#[test]
fn controllers_come_and_go_and_share_what_is_served() {
    let before = config("--disk s --socket a --socket b");
    let plan = plan(&before.controllers, &config("--disk s --socket a --socket c --disk x")).unwrap();
    assert_eq!(plan.gone, [Path::new("b")]);
    assert!(plan.changed.is_empty());
    assert_eq!(told(&plan.new[0].disks), [(0, 0, "s"), (1, 0, "x")]);
    assert!(Arc::ptr_eq(&plan.new[0].disks[0].disk, &before.controllers[0].disks[0].disk));
}

#[test]
fn a_disk_of_nothing_gets_its_new_size() {
    let plan = way("--socket a --disk null:size=1G --disk x", "--socket a --disk null:size=2G --disk x").unwrap();
    let [(from, to)] = &plan.resized[..] else { panic!("{plan:?}") };
    assert_eq!((from.text.as_str(), to.text.as_str()), ("null:size=1G", "null:size=2G"));
    assert_eq!(one(&plan), (vec![], vec![]));
    assert_eq!(plan.changed[0].config.disks[0].disk.text, "null:size=2G");
}

#[test]
fn an_address_can_get_another_disk() {
    let plan = way("--socket a --disk x,lun=1", "--socket a --disk y,lun=1").unwrap();
    assert_eq!(one(&plan), (vec![(0, 1, "x,lun=1")], vec![(0, 1, "y,lun=1")]));
}

#[test]
fn a_port_group_gets_another_state() {
    let words = "--disk x --socket a --port-group 1 --socket b --port-group 2";
    let plan =
        way(&format!("{words} --access-state standby"), &format!("{words} --access-state non-optimized")).unwrap();
    assert_eq!(plan.states.into_iter().collect::<Vec<_>>(), [(2, AccessState::NonOptimized)]);
    assert_eq!(plan.changed[0].config.access_state, AccessState::NonOptimized);
    let plan = way(&format!("{words} --access-state standby"), words).unwrap();
    assert_eq!(plan.states.into_iter().collect::<Vec<_>>(), [(2, AccessState::Optimized)]);
    assert!(way(words, words).unwrap().states.is_empty());
}

#[test]
fn what_is_fixed_is_refused_in_one_line() {
    for (before, after, said) in [
        ("-m 0x1", "-m 0x3 --queues 1", "cpumask cannot change from [0] to [0,1]"),
        ("--queues 1", "--queues 2", "queues cannot change from 1 to 2"),
        ("--idle spin", "--idle sleep", "idle cannot change from spin to sleep"),
        ("--ring split", "--ring auto", "ring cannot change from split to auto"),
        ("--queue-cpus 0:0", "", "queue-cpus cannot change from 0:0 to none"),
    ] {
        let line = |options: &str| format!("--socket a --disk x {options}");
        let error = way(&line(before), &line(after)).unwrap_err().to_string();
        assert!(error.starts_with("controller a: ") && error.contains(said) && !error.contains('\n'), "{error}");
    }
}

#[test]
fn what_would_lose_data_or_cannot_be_opened_is_refused() {
    let error = way("--socket a --disk x", "--socket a --disk x,serial=1").unwrap_err();
    assert_eq!(error, PlanError::SameFile { disk: "x,serial=1".into(), served: "x".into() });
    assert!(way("--socket a --disk x,ro", "--socket a --disk x,ro,serial=1").is_ok(), "readers share a file");
    let error = way("--socket a --disk mem:size=1M", "--socket a --disk mem:size=2M").unwrap_err();
    assert!(matches!(error, PlanError::Memory { .. }));
}
