//! Listed states of files, 16 bytes each: size and modification time.

use std::time::{Duration, SystemTime};

use crate::store::{FileState, Stat};

/// Bytes per state.
pub(super) const STATE_BYTES: usize = 16;

/// No file has one of these three sizes.
const UNKNOWN: u64 = u64::MAX;
const ABSENT: u64 = u64::MAX - 1;
const IRREGULAR: u64 = u64::MAX - 2;

/// Packs a state. One that does not fit counts as unknown, and `stat` is called for it later.
pub(super) fn pack(state: Option<&FileState>) -> [u8; STATE_BYTES] {
    let (size, time) = match state {
        Some(FileState::File(stat)) if stat.size_bytes < IRREGULAR && stat.arrived.is_none() => {
            match nanoseconds(stat.modified) {
                Some(time) => (stat.size_bytes, time),
                None => (UNKNOWN, 0),
            }
        }
        Some(FileState::Absent) => (ABSENT, 0),
        Some(FileState::Irregular) => (IRREGULAR, 0),
        Some(FileState::File(_)) | None => (UNKNOWN, 0),
    };
    let mut packed = [0; STATE_BYTES];
    packed[..8].copy_from_slice(&size.to_be_bytes());
    packed[8..].copy_from_slice(&time.to_be_bytes());
    packed
}

/// Unpacks one of many states; `None` if it is unknown.
pub(super) fn unpack(all: &[u8], index: usize) -> Option<FileState> {
    let (packed, _) = all[STATE_BYTES * index..].split_first_chunk::<STATE_BYTES>().expect("there is one for each blob");
    let word = |at: usize| *packed[at..].first_chunk::<8>().expect("eight bytes");
    match u64::from_be_bytes(word(0)) {
        UNKNOWN => None,
        ABSENT => Some(FileState::Absent),
        IRREGULAR => Some(FileState::Irregular),
        size => Some(FileState::File(Stat::new(size, time(i64::from_be_bytes(word(8)))))),
    }
}

/// Nanoseconds since the epoch; `None` for a time centuries away from it.
fn nanoseconds(time: SystemTime) -> Option<i64> {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).ok(),
        Err(before) => i64::try_from(before.duration().as_nanos()).ok().map(|before| -before),
    }
}

fn time(nanoseconds: i64) -> SystemTime {
    let apart = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds < 0 { SystemTime::UNIX_EPOCH - apart } else { SystemTime::UNIX_EPOCH + apart }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Arrival;

    #[test]
    fn states_round_trip_to_the_nanosecond_or_are_unknown() {
        let at = |seconds: u64, nanoseconds| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        let file = |modified| FileState::File(Stat::new(7, modified));
        let before = SystemTime::UNIX_EPOCH - Duration::new(1, 1);
        let arrived = Stat { arrived: Some(Arrival::Born(at(1, 0))), ..Stat::new(7, at(1, 0)) };
        for (state, back) in [
            (Some(file(at(1_600_000_000, 123_456_789))), true),
            (Some(file(before)), true),
            (Some(FileState::File(Stat::new(IRREGULAR - 1, at(0, 0)))), true),
            (Some(FileState::Absent), true),
            (Some(FileState::Irregular), true),
            (None, true),
            (Some(FileState::File(Stat::new(IRREGULAR, at(0, 0)))), false),
            (Some(file(at(1 << 40, 0))), false),
            (Some(FileState::File(arrived)), false),
        ] {
            let packed = [pack(Some(&FileState::Absent)), pack(state.as_ref())].concat();
            assert_eq!(unpack(&packed, 1), state.filter(|_| back), "{state:?}");
        }
    }
}
