//! The source location of a panic. `catch_unwind` returns only the message; a panic hook gets the
//! location.
//!
//! The hook belongs to the process, so only [`serve`](crate::serve()) sets it. Without it, log
//! lines have no location.

use core::cell::Cell;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::Once;
use std::thread;

/// The last panic of a thread.
struct Panic {
    message: Option<String>,
    location: String,
}

thread_local! {
    static LAST: Cell<Option<Panic>> = const { Cell::new(None) };
}

/// Adds the panic hook. Further calls in the same process do nothing. The previous hook runs after
/// the new one, also for panics that are caught: an error reporter needs all panics, and the
/// default hook prints the backtrace.
pub(crate) fn install_hook() {
    // Another call would record each panic twice.
    static INSTALLED: Once = Once::new();
    // `set_hook` panics in a thread that panics.
    if !thread::panicking() {
        INSTALLED.call_once(|| {
            let previous = take_hook();
            set_hook(Box::new(move |panic| {
                record(panic);
                previous(panic);
            }));
        });
    }
}

fn record(panic: &PanicHookInfo<'_>) {
    let Some(location) = panic.location() else {
        return;
    };
    let panic = Panic {
        message: panic.payload_as_str().map(str::to_owned),
        location: location.to_string(),
    };
    // The access fails if the thread is ending. The location is then not needed, because no code
    // catches the panic.
    let _ = LAST.try_with(|last| last.set(Some(panic)));
}

/// Takes the location, as `file:line:column`, of the panic that this thread has just caught.
/// `message` is the message of that panic. Returns `None` if the last panic of this thread has
/// another message: then the caught panic began in another thread and was resumed here.
pub(crate) fn take_location(message: Option<&str>) -> Option<String> {
    let last = LAST.take()?;
    (last.message.as_deref() == message).then_some(last.location)
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicBool, Ordering};
    use std::panic::{catch_unwind, resume_unwind};

    use super::*;

    #[test]
    fn a_caught_panic_has_its_location() {
        install_hook();
        let line = line!() + 1;
        assert!(catch_unwind(|| panic!("here")).is_err());
        let location = take_location(Some("here")).expect("a location");
        assert!(
            location.starts_with(&format!("{}:{line}:", file!())),
            "{location}"
        );
    }

    #[test]
    fn a_resumed_panic_has_no_location() {
        install_hook();
        assert!(catch_unwind(|| panic!("another")).is_err());
        assert!(catch_unwind(|| resume_unwind(Box::new("resumed"))).is_err());
        assert_eq!(take_location(Some("resumed")), None);
    }

    #[test]
    fn the_panic_hook_that_was_set_before_still_runs() {
        static SEEN: AtomicBool = AtomicBool::new(false);
        set_hook(Box::new(|_| SEEN.store(true, Ordering::SeqCst)));
        install_hook();
        assert!(catch_unwind(|| panic!("seen")).is_err());
        assert!(take_location(Some("seen")).is_some());
        assert!(SEEN.load(Ordering::SeqCst));
    }
}
