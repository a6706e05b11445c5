//! Finds a shorter schedule of faults that still fails: delta debugging (Zeller and Hildebrandt 2002, section 3).

/// The least part of `faults` found for which `fails` still holds: leaving out any one of it, the run passes.
///
/// `fails` is asked about ever smaller parts, about n² of them at the worst.
pub fn shrink(faults: &[usize], mut fails: impl FnMut(&[usize]) -> bool) -> Vec<usize> {
    let mut current = faults.to_vec();
    let mut parts = 2;
    while !current.is_empty() {
        let size = current.len().div_ceil(parts);
        let smaller = (0..current.len()).step_by(size).map(|start| without(&current, start, size)).find(|c| fails(c));
        match smaller {
            Some(smaller) => {
                current = smaller;
                parts = (parts - 1).max(2);
            }
            None if size == 1 => break,
            None => parts = (parts * 2).min(current.len()),
        }
    }
    current
}

fn without(faults: &[usize], start: usize, size: usize) -> Vec<usize> {
    let end = (start + size).min(faults.len());
    [&faults[..start], &faults[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_faults_that_are_needed_remain() {
        let all: Vec<usize> = (0..40).collect();
        let mut runs = 0;
        let fails = |kept: &[usize]| {
            runs += 1;
            kept.contains(&7) && kept.contains(&23)
        };
        assert_eq!(shrink(&all, fails), [7, 23]);
        assert!(runs < 100, "{runs}");
    }

    #[test]
    fn a_run_that_fails_by_itself_needs_no_fault() {
        assert_eq!(shrink(&[1, 2, 3], |_| true), [0_usize; 0]);
    }
}
