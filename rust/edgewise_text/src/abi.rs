//! What crosses the border to C++: status codes, owned bytes, borrowed slices, and no panics.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Ok = 0,
    Invalid = 1,
    Limit = 2,
    Internal = 3,
    Busy = 4,
}

/// Why a call failed, as it is told to the caller.
#[derive(Debug)]
pub struct Failure {
    pub status: Status,
    pub message: String,
}

impl Failure {
    pub fn invalid(message: impl Into<String>) -> Failure {
        Failure { status: Status::Invalid, message: message.into() }
    }

    pub fn limit(message: impl Into<String>) -> Failure {
        Failure { status: Status::Limit, message: message.into() }
    }

    pub fn busy(message: impl Into<String>) -> Failure {
        Failure { status: Status::Busy, message: message.into() }
    }

    pub fn panicked(payload: Box<dyn Any + Send>) -> Failure {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Failure { status: Status::Internal, message: format!("internal error: {text}") }
    }
}

/// Bytes owned by the C++ side until `edgewise_bytes_free`.
#[repr(C)]
pub struct Bytes {
    data: *mut u8,
    size: usize,
}

impl Bytes {
    fn from_vec(bytes: Vec<u8>) -> Bytes {
        let boxed = bytes.into_boxed_slice();
        let size = boxed.len();
        Bytes { data: Box::into_raw(boxed).cast(), size }
    }
}

/// Runs `work`, turns a panic into `Status::Internal`, and puts text (the result's or the failure's) into `text`.
///
/// # Safety
/// `text` is null or points to a `Bytes` that may be overwritten.
pub unsafe fn guarded(text: *mut Bytes, work: impl FnOnce() -> Result<Vec<u8>, Failure>) -> Status {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(Failure::panicked(payload)));
    let (status, bytes) = match result {
        Ok(bytes) => (Status::Ok, bytes),
        Err(failure) => (failure.status, failure.message.into_bytes()),
    };
    if !text.is_null() {
        text.write(Bytes::from_vec(bytes));
    }
    status
}

/// # Safety
/// `data` points to `size` readable elements that outlive the result, or `size` is 0.
pub unsafe fn slice<'a, T>(data: *const T, size: usize) -> &'a [T] {
    if size == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

/// # Safety
/// As `slice`.
pub unsafe fn text<'a>(data: *const u8, size: usize, what: &str) -> Result<&'a str, Failure> {
    std::str::from_utf8(slice(data, size))
        .map_err(|e| Failure::invalid(format!("{what} is not valid UTF-8 at byte {}", e.valid_up_to())))
}

/// Drops a value that this crate handed out with `Box::into_raw`.
///
/// # Safety
/// `owned` is null or came from `Box::into_raw` and was not given back before.
pub unsafe fn give_back<T>(owned: *mut T) {
    if !owned.is_null() {
        // A panic in a destructor has nobody to report to; the rest of the value leaks.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(owned))));
    }
}

/// # Safety
/// See `include/edgewise_text.h`.
#[no_mangle]
pub unsafe extern "C" fn edgewise_bytes_free(bytes: *mut Bytes) {
    let Some(bytes) = bytes.as_mut() else { return };
    if !bytes.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(bytes.data, bytes.size)));
    }
    bytes.data = std::ptr::null_mut();
    bytes.size = 0;
}
