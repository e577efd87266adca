//! The order in which SRV targets are tried (RFC 2782): by priority, and within one by weighted choice.

use rand::Rng;

use crate::resolver::Srv;

/// Puts records in the order of attempt. Within a priority the chance of a record to come next is its weight over the
/// sum of those left; records of weight 0 get the "very small chance" that the RFC asks for.
///
/// The RFC's own arithmetic (a number from 0 to the sum, both included) favours the first record: for weights 1 and 3
/// it gives 40 % to the first. Here the chances are exact.
pub fn order(mut records: Vec<Srv>, rng: &mut impl Rng) -> Vec<Srv> {
    records.sort_by_key(|r| r.priority);
    let mut start = 0;
    while start < records.len() {
        let priority = records[start].priority;
        let end = start + records[start..].iter().take_while(|r| r.priority == priority).count();
        for next in start..end {
            let sum: u64 = records[next..end].iter().map(share).sum();
            let mut draw = rng.random_range(0..sum);
            let chosen = records[next..end].iter().position(|r| match draw.checked_sub(share(r)) {
                Some(rest) => {
                    draw = rest;
                    false
                }
                None => true,
            });
            // `draw` is below the sum of all shares, so that one of them holds it.
            records.swap(next, next + chosen.unwrap_or(0));
        }
        start = end;
    }
    records
}

/// Never 0, so that the sum of any records is positive; a weight of 1 is a thousand times one of 0.
fn share(record: &Srv) -> u64 {
    if record.weight == 0 { 1 } else { u64::from(record.weight) * 1000 }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn srv(priority: u16, weight: u16, target: &str) -> Srv {
        Srv { priority, weight, port: 1, target: target.into() }
    }

    /// How often each record is first in 10,000 draws.
    fn firsts(records: &[Srv]) -> Vec<u32> {
        let mut rng = StdRng::seed_from_u64(6047);
        let mut counts = vec![0; records.len()];
        for _ in 0..10_000 {
            let ordered = order(records.to_vec(), &mut rng);
            assert_eq!(ordered.len(), records.len());
            counts[records.iter().position(|r| *r == ordered[0]).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn the_first_is_drawn_by_weight() {
        let table: &[&[u16]] = &[&[60, 40], &[40, 60], &[1, 3], &[3, 1], &[10, 20, 30, 40], &[0, 0], &[65535, 65535]];
        for weights in table {
            let records: Vec<Srv> = weights.iter().enumerate().map(|(i, &w)| srv(10, w, &format!("t{i}"))).collect();
            let sum: f64 = weights.iter().map(|&w| f64::from(w.max(u16::from(weights.iter().all(|&w| w == 0))))).sum();
            for (count, &weight) in firsts(&records).into_iter().zip(*weights) {
                let want = if sum.abs() < f64::EPSILON || weight == 0 { 0.5 } else { f64::from(weight) / sum };
                let got = f64::from(count) / 10_000.0;
                assert!((got - want).abs() < 0.05 * want, "{weights:?}: {got} instead of {want}");
            }
        }
    }

    #[test]
    fn the_second_is_drawn_by_weight_among_the_rest() {
        let records = [srv(1, 70, "a"), srv(1, 20, "b"), srv(1, 10, "c")];
        let mut rng = StdRng::seed_from_u64(1);
        let (mut after_a, mut b) = (0.0, 0.0);
        for _ in 0..10_000 {
            let ordered = order(records.to_vec(), &mut rng);
            if ordered[0].target == "a" {
                after_a += 1.0;
                b += f64::from(u8::from(ordered[1].target == "b"));
            }
        }
        assert!((b / after_a - 2.0 / 3.0_f64).abs() < 0.03, "{}", b / after_a);
    }

    #[test]
    fn priority_goes_before_weight_and_zero_is_almost_never_first() {
        let records = [srv(20, 65535, "late"), srv(10, 0, "zero"), srv(10, 1, "one")];
        let counts = firsts(&records);
        assert_eq!(counts[0], 0);
        assert!(counts[1] < 50, "{counts:?}");
        let ordered = order(records.to_vec(), &mut StdRng::seed_from_u64(2));
        assert_eq!(ordered[2].target, "late");
    }
}
