//! Makes a history that fails shorter, as long as it still fails.

use std::collections::BTreeSet;

use super::plan::Plan;

/// Leaves out what is not needed for a failure, trying at most so many runs.
pub(super) fn shrink(plan: &Plan, mut tries: usize, fails: &mut dyn FnMut(&Plan) -> bool) -> Plan {
    let mut plan = plan.clone();
    let mut still = |candidate: &Plan| {
        tries = tries.saturating_sub(1);
        tries > 0 && fails(candidate)
    };
    if plan.nodes > 1 {
        let candidate = Plan {
            nodes: 1,
            ..plan.clone()
        };
        if still(&candidate) {
            plan = candidate;
        }
    }
    let none = Plan {
        faults: BTreeSet::new(),
        ..plan.clone()
    };
    if still(&none) {
        plan = none;
    }
    for kind in plan.faults.clone() {
        let mut candidate = plan.clone();
        candidate.faults.remove(&kind);
        if still(&candidate) {
            plan = candidate;
        }
    }
    let mut portion = plan.steps.len().div_ceil(2);
    while portion > 0 {
        let mut start = 0;
        while start < plan.steps.len() {
            let mut candidate = plan.clone();
            let end = (start + portion).min(plan.steps.len());
            candidate.steps.drain(start..end);
            if still(&candidate) {
                plan = candidate;
            } else {
                start = end;
            }
        }
        portion /= 2;
    }
    plan
}

#[test]
fn what_a_failure_does_not_need_is_left_out() {
    use super::plan::Kind;
    let whole = Plan::of(4);
    let needed = [17, 60];
    let mut fails = |plan: &Plan| {
        let there = |number| plan.steps.iter().any(|step| step.number == number);
        needed.into_iter().all(there) && plan.faults.contains(&Kind::AnswerLost)
    };
    let short = shrink(&whole, 1_000, &mut fails);
    let numbers: Vec<_> = short.steps.iter().map(|step| step.number).collect();
    assert_eq!(numbers, needed);
    assert_eq!(short.faults, [Kind::AnswerLost].into());
    assert_eq!(short.nodes, 1);
}
