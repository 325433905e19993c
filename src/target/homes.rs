//! Homes of request queues: which CPU serves which, over all controllers.
//!
//! Those that the user chose are theirs. The others are dealt out, so that the queues of a controller spread over its CPUs,
//! and those of all controllers over all CPUs. Called when controllers come: a queue keeps its home from life to life.

use std::collections::BTreeMap;

use crate::config::ControllerConfig;

/// The CPU of each request queue, for each controller. `taken` are the homes of queues that are served already.
pub(crate) fn deal(controllers: &[ControllerConfig], taken: impl Iterator<Item = usize>) -> Vec<Vec<usize>> {
    let mut queues_of_cpu: BTreeMap<usize, usize> = BTreeMap::new();
    for cpu in taken {
        *queues_of_cpu.entry(cpu).or_default() += 1;
    }
    for (_, cpu) in controllers.iter().flat_map(chosen) {
        *queues_of_cpu.entry(cpu).or_default() += 1;
    }
    controllers.iter().map(|controller| deal_one(controller, &mut queues_of_cpu)).collect()
}

fn chosen(controller: &ControllerConfig) -> impl Iterator<Item = (u16, usize)> {
    controller.queue_cpus.iter()
}

/// Deals out the queues of one controller: each to the CPU that has the fewest of its queues, and of those to the one that
/// has the fewest of all.
fn deal_one(controller: &ControllerConfig, queues_of_cpu: &mut BTreeMap<usize, usize>) -> Vec<usize> {
    let mut own: BTreeMap<usize, usize> = controller.cpus.cpus().iter().map(|&cpu| (cpu, 0)).collect();
    for (_, cpu) in chosen(controller) {
        *own.get_mut(&cpu).expect("the configuration was checked") += 1;
    }
    let home = |queue| {
        controller.queue_cpus.of(queue).unwrap_or_else(|| {
            let count = |cpu: &usize| (own[cpu], queues_of_cpu.get(cpu).copied().unwrap_or(0));
            let &cpu = controller.cpus.cpus().iter().min_by_key(|cpu| count(cpu)).expect("a mask names a CPU");
            *own.entry(cpu).or_default() += 1;
            *queues_of_cpu.entry(cpu).or_default() += 1;
            cpu
        })
    };
    (0..controller.queues).map(home).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Command};

    /// Homes of the queues of these controllers, one string of options each.
    fn homes(controllers: &[&str]) -> Vec<Vec<usize>> {
        let options = controllers.iter().enumerate().map(|(number, options)| format!(" --socket {number} {options}"));
        let words = format!("annulus serve --disk null:size=1G{}", options.collect::<String>());
        let Ok(Command::Serve(config)) = config::parse(words.split_whitespace()) else { panic!("{words}") };
        deal(&config.controllers, std::iter::empty())
    }

    #[test]
    fn controllers_that_come_later_keep_away_from_those_that_are_there() {
        let words = "annulus serve --disk null:size=1G --socket a -m [0-2] --queues 2";
        let Ok(Command::Serve(config)) = config::parse(words.split_whitespace()) else { panic!("{words}") };
        assert_eq!(deal(&config.controllers, [0, 0, 1].into_iter()), [[2, 1]]);
    }

    #[test]
    fn queues_spread_over_the_cpus_of_their_controller() {
        assert_eq!(homes(&["-m [0-2]"]), [[0, 1, 2]], "as many as CPUs");
        assert_eq!(homes(&["-m [1,4] --queues 5"]), [[1, 4, 1, 4, 1]]);
        assert_eq!(homes(&["--queues 2"]), [[0, 0]]);
    }

    #[test]
    fn controllers_spread_over_the_cpus_that_they_share() {
        let two = "-m [0-3] --queues 2";
        assert_eq!(homes(&[two, two]), [[0, 1], [2, 3]]);
        assert_eq!(homes(&["-m [0-1] --queues 3"; 2]), [[0, 1, 0], [1, 0, 1]]);
        let one = "-m [0-3] --queues 1";
        assert_eq!(homes(&[one; 6]).concat(), [0, 1, 2, 3, 0, 1]);
        assert_eq!(homes(&["-m [0]", "-m [0-1] --queues 1", "-m [0-1] --queues 1"]).concat(), [0, 1, 0]);
    }

    #[test]
    fn chosen_homes_stay_and_the_others_make_room_for_them() {
        assert_eq!(homes(&["-m [2-3] --queues 4 --queue-cpus 0:3,1:2,2:3,3:2"]), [[3, 2, 3, 2]]);
        assert_eq!(homes(&["-m [0-1] --queues 4 --queue-cpus 1-2:0"]), [[1, 0, 0, 1]]);
        assert_eq!(homes(&["-m [0-1] --queues 1", "-m [0-1] --queues 1 --queue-cpus 0:0"]).concat(), [1, 0]);
    }
}
