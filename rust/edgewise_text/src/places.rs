//! Who may compile a grammar, and with how much memory. One that needs too much memory never ends and keeps what it
//! has: it gives its place back, and those that come later may take less, so that all together stay below
//! LOSABLE_BYTES, one owner leaves half of that to others, and small grammars can still be compiled.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::abi::Failure;

const LOSABLE_BYTES: i64 = 1536 << 20;
const PART_OF_ALL: i64 = 6; // of what is left a grammar may take this part: 256 MiB the first
const LOSABLE_BYTES_OF_OWNER: i64 = LOSABLE_BYTES / 2;
const PART_OF_OWNER: i64 = 3;
const LEAST_MEMORY_BYTES: i64 = 1 << 20; // with less hardly any grammar is compiled
const MAX_COMPILING: usize = 6;
pub(crate) const MAX_OF_ONE_OWNER: usize = 3;

/// What is being compiled, and what is lost to grammars that took too much.
#[derive(Default)]
pub(crate) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    compiling: Vec<Share>,
    lost: HashMap<String, i64>, // bytes by owner
}

/// What one grammar may take.
struct Share {
    owner: String,
    memory_bytes: i64,
    is_stopped: Arc<AtomicBool>,
}

impl Taken {
    /// Those that have stopped give back their places, not their memory.
    fn sweep(&mut self) {
        let (stopped, compiling) =
            std::mem::take(&mut self.compiling).into_iter().partition(|share| share.is_stopped.load(Ordering::Relaxed));
        self.compiling = compiling;
        let stopped: Vec<Share> = stopped;
        for share in stopped {
            *self.lost.entry(share.owner).or_default() += share.memory_bytes;
        }
    }

    /// What the next grammar of this owner may take beside these.
    fn memory_bytes(&self, owner: &str, compiling: &[Share]) -> i64 {
        let is_owners = |share: &&Share| share.owner == owner;
        let of_owner = self.lost.get(owner).copied().unwrap_or(0)
            + compiling.iter().filter(is_owners).map(|share| share.memory_bytes).sum::<i64>();
        let of_all = self.lost.values().sum::<i64>() + compiling.iter().map(|share| share.memory_bytes).sum::<i64>();
        let left = (LOSABLE_BYTES - of_all) / PART_OF_ALL;
        if owner.is_empty() {
            left
        } else {
            left.min((LOSABLE_BYTES_OF_OWNER - of_owner) / PART_OF_OWNER)
        }
    }
}

/// One of the MAX_COMPILING places.
pub(crate) struct Place {
    places: Arc<Places>,
    pub(crate) is_stopped: Arc<AtomicBool>, // names it
    pub(crate) memory_bytes: i64,
    pub(crate) is_reduced: bool, // it would get more memory if nothing else were compiled
}

impl Place {
    pub(crate) fn take(places: &Arc<Places>, owner: &str) -> Result<Place, Failure> {
        let mut taken = places.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.sweep();
        if taken.compiling.len() >= MAX_COMPILING {
            return Err(Failure::busy("too many large grammars are being compiled; try again later"));
        }
        let of_owner = taken.compiling.iter().filter(|other| other.owner == owner).count();
        if !owner.is_empty() && of_owner >= MAX_OF_ONE_OWNER {
            return Err(Failure::busy(format!(
                "{MAX_OF_ONE_OWNER} large grammars of the same API key are being compiled; try again later"
            )));
        }
        let memory_bytes = taken.memory_bytes(owner, &taken.compiling);
        let is_reduced = memory_bytes < taken.memory_bytes(owner, &[]);
        if memory_bytes < LEAST_MEMORY_BYTES {
            return Err(Failure::busy(
                "grammars that took too much memory have used up what there is for them until the server is restarted",
            ));
        }
        let is_stopped = Arc::new(AtomicBool::new(false));
        taken.compiling.push(Share { owner: owner.to_string(), memory_bytes, is_stopped: is_stopped.clone() });
        Ok(Place { places: places.clone(), is_stopped, memory_bytes, is_reduced })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.compiling.retain(|share| !Arc::ptr_eq(&share.is_stopped, &self.is_stopped));
    }
}

/// Takes a place and stops in it. None when there is no memory left.
#[cfg(test)]
pub(crate) fn lose(places: &Arc<Places>, owner: &str) -> Option<i64> {
    let place = Place::take(places, owner).ok()?;
    place.is_stopped.store(true, Ordering::Relaxed);
    let memory_bytes = place.memory_bytes;
    std::mem::forget(place);
    Some(memory_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::Status;

    #[test]
    fn one_owner_leaves_places_to_others() {
        let places = Arc::new(Places::default());
        let mut held: Vec<Place> = (0..3).map(|_| Place::take(&places, "a").expect("a place")).collect();
        assert_eq!(Place::take(&places, "a").err().expect("no place").status, Status::Busy);
        held.extend((0..3).map(|_| Place::take(&places, "b").expect("a place")));
        assert_eq!(Place::take(&places, "c").err().expect("no place").status, Status::Busy);
        held.pop();
        held.push(Place::take(&places, "c").expect("a place"));
        held.clear();
        let unnamed: Vec<Place> = (0..6).map(|_| Place::take(&places, "").expect("a place")).collect();
        assert_eq!(unnamed.len(), 6);
    }

    #[test]
    fn grammars_that_take_too_much_leave_places_and_memory_to_others() {
        let places = Arc::new(Places::default());
        assert_eq!(lose(&places, "a"), Some(256 << 20));
        let lost = std::iter::from_fn(|| lose(&places, "a")).sum::<i64>();
        assert!(lost < LOSABLE_BYTES_OF_OWNER - (256 << 20));
        assert_eq!(Place::take(&places, "a").err().expect("used up").status, Status::Busy);
        let other = Place::take(&places, "b").expect("a place");
        assert!(other.memory_bytes >= 100 << 20, "{}", other.memory_bytes);
        assert!(!other.is_reduced, "what is lost will not come back");
        assert!(Place::take(&places, "b").expect("a place").is_reduced, "what others compile with will");
        drop(other);

        let open = Arc::new(Places::default());
        let lost = (0..12).map(|_| lose(&open, "").expect("some left")).sum::<i64>();
        assert!(lost < LOSABLE_BYTES);
        assert!(Place::take(&open, "").expect("a place").memory_bytes > 16 << 20);
    }
}
