/// What `--memory` is divided into, all in bytes. For a ceiling of `m`:
///
/// | part | of it | of 1,024 MiB |
/// |---|---|---|
/// | headers (130 bytes a header) and block index (60) | m / 4 | 256, for 1.4 million blocks |
/// | `sort`: runs of a set that is put into key order | m / 8 | 128 |
/// | `in_flight`: raw blocks between reading and commit, at most 1 MiB a thread and 2 | m / 32 | 32 |
/// | what their arenas and hashes take | m / 32 | 32 |
/// | `coins`: those that blocks in the check of their scripts spend, at most half a MiB a thread and one | m / 512 | 2 |
/// | `script_cache`, at most 8 MiB | m / 64 | 8 |
/// | `ledger_memory`: window and table | the rest | 566 |
///
/// Headers and index grow with the chain and are not cut; all else keeps to its part. A block that is
/// larger than a part goes through alone. Beside it stand the program and the stacks of its threads,
/// some 20 MiB, and pages of files, which the system takes back when it needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) in_flight: usize,
    pub(crate) coins: usize,
    pub(crate) script_cache: usize,
    pub(crate) sort: u64,
    pub(crate) ledger_memory: u64,
}

/// Half a million transactions. Core: `DEFAULT_SCRIPT_EXECUTION_CACHE_BYTES`, in entries.
const SCRIPT_CACHE_MAX: u64 = 8 << 20;

impl Memory {
    /// Divides so many MiB.
    pub(crate) fn of(mib: u32) -> Self {
        let whole = u64::from(mib) << 20;
        let part = |divisor| usize::try_from(whole / divisor).unwrap_or(usize::MAX);
        let script_cache = (whole / 64).min(SCRIPT_CACHE_MAX);
        let ledger_memory = whole - whole / 4 - whole / 8 - whole / 16 - script_cache - whole / 512;
        let script_cache = usize::try_from(script_cache).unwrap_or(usize::MAX);
        Self { in_flight: part(32), coins: part(512), script_cache, sort: whole / 8, ledger_memory }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_ceiling_add_up_to_it() {
        for mib in [16, 100, 1024, 65_536, u32::MAX] {
            let Memory { in_flight, coins, script_cache, sort, ledger_memory } = Memory::of(mib);
            let whole = u64::from(mib) << 20;
            let own = [2 * in_flight, coins, script_cache].map(|part| part as u64);
            let sum = whole / 4 + own.iter().sum::<u64>() + sort + ledger_memory;
            assert!(sum <= whole && whole < sum + 8, "{mib} MiB");
            assert!(whole / 2 < ledger_memory);
        }
        assert_eq!(Memory::of(1024).ledger_memory >> 20, 566);
    }
}
