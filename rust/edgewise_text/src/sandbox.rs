//! Runs a chat template or a grammar's compiler on a thread of its own with bounds on stack, memory and time.
//!
//! minijinja's fuel stops endless loops and growing text, but not every blow-up: forty times `x = [x, x]` is a small
//! value whose text, hash or comparison takes forever. A thread cannot be killed, so one that exceeds its bounds is
//! abandoned: it stops for good at its next allocation (the allocator below never returns to it), until then it
//! gets only time that nobody else wants, and the caller refuses to run that template again. Work that is known to
//! end may instead go on at that priority, and gives back all that it holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::os::unix::thread::JoinHandleExt;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::abi::Failure;

pub struct Bounds {
    pub stack_bytes: usize, // only touched pages cost memory
    pub memory_bytes: i64,  // allocated at once by the thread
    pub time: Duration,
    pub after_time: AfterTime,
    /// Becomes true when the thread has stopped for good, with all that it holds.
    pub is_stopped: Arc<AtomicBool>,
}

/// What becomes of work that exceeds its time. Too much memory always stops it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AfterTime {
    Stops,
    GoesOn,
}

pub enum Outcome<T> {
    Finished(Result<T, Failure>),
    Abandoned(Reason),
}

/// Why a thread was abandoned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    TooMuchMemory,
    /// With the processor time that it got.
    TooLate(Duration),
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Reason::TooMuchMemory => "takes too much memory",
            Reason::TooLate(_) => "takes too long",
        })
    }
}

/// What the allocator knows about the thread that it serves.
struct Meter {
    used_bytes: AtomicI64,
    limit_bytes: i64,
    is_abandoned: AtomicBool,
    is_stopped: Arc<AtomicBool>,
    is_over_memory: Mutex<bool>,
    over_memory: Condvar,
}

thread_local! {
    static METER: Cell<*const Meter> = const { Cell::new(ptr::null()) };
}

/// The system's allocator, which counts what metered threads hold and stops those that exceed their bounds.
struct MeteredAllocator;

#[global_allocator]
static ALLOCATOR: MeteredAllocator = MeteredAllocator;

impl MeteredAllocator {
    #[inline]
    fn charge(bytes: i64) {
        // During the destruction of thread-locals nothing is metered.
        let meter = METER.try_with(Cell::get).unwrap_or(ptr::null());
        // SAFETY: the pointer is set only while `run`'s closure keeps the meter alive on this thread.
        if let Some(meter) = unsafe { meter.as_ref() } {
            meter.charge(bytes);
        }
    }
}

// SAFETY: all work is the system allocator's; stopping a thread before it is asked breaks none of its rules.
unsafe impl GlobalAlloc for MeteredAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::charge(layout.size() as i64);
        System.alloc(layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::charge(layout.size() as i64);
        System.alloc_zeroed(layout)
    }

    unsafe fn realloc(&self, data: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::charge(size as i64 - layout.size() as i64);
        System.realloc(data, layout, size)
    }

    unsafe fn dealloc(&self, data: *mut u8, layout: Layout) {
        Self::charge(-(layout.size() as i64));
        System.dealloc(data, layout);
    }
}

impl Meter {
    fn charge(&self, bytes: i64) {
        let used = self.used_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.is_abandoned.load(Ordering::Relaxed) || (bytes > 0 && used > self.limit_bytes) {
            self.stop();
        }
    }

    /// Does not return. Locks and parking of std are futexes: they do not allocate.
    #[cold]
    fn stop(&self) -> ! {
        METER.set(ptr::null());
        self.is_stopped.store(true, Ordering::Relaxed);
        *self.is_over_memory.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.over_memory.notify_all();
        loop {
            thread::park();
        }
    }
}

struct Shared<T> {
    meter: Meter,
    thread_id: AtomicI32,
    result: Mutex<Option<Result<T, Failure>>>,
}

/// Runs `work` on a thread within `bounds`.
pub fn run<T: Send + 'static>(
    bounds: Bounds,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Outcome<T> {
    let shared = Arc::new(Shared {
        meter: Meter {
            used_bytes: AtomicI64::new(0),
            limit_bytes: bounds.memory_bytes,
            is_abandoned: AtomicBool::new(false),
            is_stopped: bounds.is_stopped.clone(),
            is_over_memory: Mutex::new(false),
            over_memory: Condvar::new(),
        },
        thread_id: AtomicI32::new(0),
        result: Mutex::new(None),
    });
    let worker = shared.clone();
    let spawned = thread::Builder::new().name("template".to_string()).stack_size(bounds.stack_bytes).spawn(move || {
        // SAFETY: gettid has no preconditions.
        worker.thread_id.store(unsafe { libc::gettid() }, Ordering::Relaxed);
        METER.set(&worker.meter);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        METER.set(ptr::null());
        let result = result.unwrap_or_else(|payload| Err(Failure::panicked(payload)));
        *worker.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        let _held = worker.meter.is_over_memory.lock().unwrap_or_else(PoisonError::into_inner);
        worker.meter.over_memory.notify_all();
    });
    match spawned {
        Ok(thread) => wait(&thread, &shared, &bounds),
        Err(e) => Outcome::Finished(Err(Failure::limit(format!("no thread for it: {e}")))),
    }
}

fn wait<T>(thread: &JoinHandle<()>, shared: &Shared<T>, bounds: &Bounds) -> Outcome<T> {
    let take = || shared.result.lock().unwrap_or_else(PoisonError::into_inner).take();
    let mut finished = None;
    let guard = shared.meter.is_over_memory.lock().unwrap_or_else(PoisonError::into_inner);
    let (guard, timeout) = shared
        .meter
        .over_memory
        .wait_timeout_while(guard, bounds.time, |is_over| {
            finished = take();
            finished.is_none() && !*is_over
        })
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(result) = finished {
        return Outcome::Finished(result);
    }
    let is_late = !*guard && timeout.timed_out();
    shared.meter.is_abandoned.store(!is_late || bounds.after_time == AfterTime::Stops, Ordering::Relaxed);
    if is_late {
        run_only_when_idle(shared.thread_id.load(Ordering::Relaxed));
        return Outcome::Abandoned(Reason::TooLate(processor_time(thread)));
    }
    Outcome::Abandoned(Reason::TooMuchMemory)
}

/// What the thread has computed so far. Zero when it has just ended.
fn processor_time(thread: &JoinHandle<()>) -> Duration {
    let mut clock: libc::clockid_t = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the handle was not joined or dropped, so its pthread_t is valid; both structures are plain data.
    let is_known = unsafe {
        libc::pthread_getcpuclockid(thread.as_pthread_t() as libc::pthread_t, &mut clock) == 0
            && libc::clock_gettime(clock, &mut time) == 0
    };
    if is_known {
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    } else {
        Duration::ZERO
    }
}

fn run_only_when_idle(thread_id: i32) {
    // SAFETY: the structure is plain data, and a thread id that is gone is an error that changes nothing.
    unsafe {
        let parameters: libc::sched_param = std::mem::zeroed();
        libc::sched_setscheduler(thread_id, libc::SCHED_IDLE, &parameters);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Held(Arc<AtomicBool>);

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.store(false, Ordering::SeqCst);
        }
    }

    /// Whether what late work holds is given back within two seconds.
    fn is_given_back(after_time: AfterTime) -> bool {
        let is_held = Arc::new(AtomicBool::new(true));
        let held = Held(is_held.clone());
        let bounds = Bounds {
            stack_bytes: 1 << 20,
            memory_bytes: 1 << 20,
            time: Duration::from_millis(20),
            after_time,
            is_stopped: Arc::default(),
        };
        let outcome = run(bounds, move || {
            thread::sleep(Duration::from_millis(200));
            let _held = held;
            Ok(vec![1u8; 100].len())
        });
        // It slept: the time was not its own.
        assert!(matches!(outcome, Outcome::Abandoned(Reason::TooLate(worked)) if worked < Duration::from_millis(10)));
        for _ in 0..200 {
            if !is_held.load(Ordering::SeqCst) {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    #[test]
    fn late_work_is_known_by_its_processor_time() {
        let time = Duration::from_millis(200);
        let bounds = Bounds {
            stack_bytes: 1 << 20,
            memory_bytes: 1 << 20,
            time,
            after_time: AfterTime::GoesOn,
            is_stopped: Arc::default(),
        };
        let outcome = run(bounds, move || {
            let end = std::time::Instant::now() + 2 * time;
            while std::time::Instant::now() < end {
                std::hint::spin_loop();
            }
            Ok(())
        });
        // Others may have had most of the processor, but it is never more than the time that passed.
        assert!(
            matches!(outcome, Outcome::Abandoned(Reason::TooLate(worked)) if worked > Duration::ZERO && worked < 2 * time)
        );
    }

    #[test]
    fn work_that_takes_too_much_memory_is_known_to_have_stopped() {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let bounds = Bounds {
            stack_bytes: 1 << 20,
            memory_bytes: 1 << 20,
            time: Duration::from_secs(20),
            after_time: AfterTime::GoesOn,
            is_stopped: is_stopped.clone(),
        };
        assert!(matches!(run(bounds, || Ok(vec![1u8; 2 << 20].len())), Outcome::Abandoned(Reason::TooMuchMemory)));
        assert!(is_stopped.load(Ordering::Relaxed));
    }

    #[test]
    fn late_work_stops_or_goes_on_as_asked() {
        assert!(!is_given_back(AfterTime::Stops));
        assert!(is_given_back(AfterTime::GoesOn));
    }
}
