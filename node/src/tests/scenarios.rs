//! What the simulated networks go through. `CAESURE_SEED` runs one seed again, as a failure says it;
//! `CAESURE_SIMULATIONS` says how many seeds each scenario takes.

use std::hash::Hasher;
use std::time::Duration;

use super::simulation::{Conduct, Simulation};

/// Runs a scenario over some seeds, and names the one that fails.
fn over_seeds(count: u64, scenario: impl Fn(u64) -> Simulation) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("CAESURE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CAESURE_SIMULATIONS").unwrap_or(count),
    };
    let (mut steps, mut connected, mut refused, mut reorganisations) = (0, 0, 0, 0);
    for seed in seeds {
        eprintln!("seed {seed}: CAESURE_SEED={seed} runs it again");
        let simulation = scenario(seed);
        steps += simulation.steps;
        connected += simulation.blocks_connected;
        refused += simulation.blocks_refused;
        reorganisations += simulation.reorganisations;
    }
    println!(
        "{steps} events, {connected} blocks connected, {refused} refused, {reorganisations} reorganisations"
    );
    assert_ne!(connected, 0, "nothing happened");
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

#[test]
fn honest_nodes_with_competing_miners_come_to_one_tip() {
    over_seeds(3, |seed| {
        let mut simulation = Simulation::new(seed, &[Conduct::Honest; 12]);
        simulation.run(minutes(2));
        simulation.mine(Some(Duration::from_secs(20)));
        simulation.run(minutes(20));
        simulation.mine(None);
        assert!(simulation.converges_within(minutes(30)), "heights {:?}", simulation.heights());
        simulation
    });
}

#[test]
fn a_divided_network_comes_to_one_tip_once_it_is_whole() {
    over_seeds(2, |seed| {
        let mut simulation = Simulation::new(seed, &[Conduct::Honest; 10]);
        simulation.mine(Some(Duration::from_secs(20)));
        simulation.divide(vec![0, 0, 0, 0, 1, 1, 1, 1, 2, 2], minutes(2));
        simulation.divide(vec![0, 0, 0, 0, 1, 1, 1, 1, 1, 0], minutes(10));
        simulation.divide(vec![0; 10], minutes(15));
        simulation.run(minutes(16));
        simulation.mine(None);
        assert!(simulation.converges_within(minutes(40)), "heights {:?}", simulation.heights());
        assert_ne!(simulation.reorganisations, 0, "the sides had blocks of their own");
        simulation
    });
}

#[test]
fn nodes_that_crash_and_lose_what_was_not_synced_come_back_to_the_tip() {
    over_seeds(2, |seed| {
        let mut simulation = Simulation::new(seed, &[Conduct::Honest; 8]);
        simulation.mine(Some(Duration::from_secs(15)));
        for turn in 0..12 {
            let host = (turn * 5 + usize::try_from(seed).unwrap_or(0)) % 8;
            let at = Duration::from_secs(60 + 50 * turn as u64);
            simulation.crash(host, at, Duration::from_secs(20 + 30 * (turn as u64 % 3)));
        }
        simulation.run(minutes(14));
        simulation.mine(None);
        assert!(simulation.converges_within(minutes(40)), "heights {:?}", simulation.heights());
        simulation
    });
}

#[test]
fn silent_slow_and_lying_peers_do_not_keep_honest_ones_from_the_tip() {
    over_seeds(2, |seed| {
        let mut conducts = vec![Conduct::Honest; 8];
        conducts.extend([Conduct::Silent, Conduct::Silent]);
        conducts.extend([Conduct::Lying, Conduct::Lying, Conduct::Slow, Conduct::Slow]);
        let mut simulation = Simulation::new(seed, &conducts);
        simulation.postpone(0, minutes(12));
        simulation.mine(Some(Duration::from_secs(15)));
        simulation.run(minutes(15));
        simulation.mine(None);
        assert!(simulation.converges_within(minutes(60)), "heights {:?}", simulation.heights());
        simulation
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut simulation = Simulation::new(7, &[Conduct::Honest; 6]);
        simulation.mine(Some(Duration::from_secs(10)));
        simulation.crash(2, Duration::from_secs(60), Duration::from_secs(30));
        simulation.run(minutes(5));
        (simulation.trace.finish(), simulation.steps, simulation.blocks_connected)
    };
    let first = run();
    assert_eq!(first, run());
    assert_ne!(first.2, 0);
}

#[test]
fn three_dozen_nodes_come_to_one_tip() {
    over_seeds(1, |seed| {
        let mut simulation = Simulation::new(seed, &[Conduct::Honest; 36]);
        simulation.mine(Some(Duration::from_secs(20)));
        for host in 0..6 {
            let at = Duration::from_secs(90 + 40 * host as u64);
            simulation.crash(host * 5, at, Duration::from_secs(60));
        }
        simulation.divide((0..36).map(|host| host % 2).collect(), minutes(3));
        simulation.divide(vec![0; 36], minutes(6));
        simulation.run(minutes(9));
        simulation.mine(None);
        assert!(simulation.converges_within(minutes(30)), "heights {:?}", simulation.heights());
        simulation
    });
}
