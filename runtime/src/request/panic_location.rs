//! The place where a panic began. `catch_unwind` returns the message only; the hook knows the place.
//!
//! The hook belongs to the process, so only [`serve`](crate::serve()) sets it. Without it log lines lack the place.

use core::cell::Cell;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::Once;
use std::thread;

/// The last panic of a thread.
struct Panic {
    message: Option<String>,
    place: String,
}

thread_local! {
    static LAST: Cell<Option<Panic>> = const { Cell::new(None) };
}

/// Listens to panics from now on. The hook that was there before runs after, also for those that
/// are caught: an error reporter wants to see them all, and the default one prints the backtrace.
pub(crate) fn listen() {
    static LISTENING: Once = Once::new();
    // Hooks cannot be changed by a thread that panics.
    if !thread::panicking() {
        LISTENING.call_once(|| {
            let before = take_hook();
            set_hook(Box::new(move |panic| {
                record(panic);
                before(panic);
            }));
        });
    }
}

fn record(panic: &PanicHookInfo<'_>) {
    let Some(place) = panic.location() else {
        return;
    };
    let noted = Panic {
        message: panic.payload_as_str().map(str::to_owned),
        place: place.to_string(),
    };
    // A thread that ends has no room for it any more, and nobody who asks.
    let _ = LAST.try_with(|last| last.set(Some(noted)));
}

/// The place of the panic with this message that this thread has just caught, as `file:line:column`. A panic that
/// was only passed on, such as that of another task, has none here.
pub(crate) fn format_location(message: Option<&str>) -> Option<String> {
    let last = LAST.take()?;
    (last.message.as_deref() == message).then_some(last.place)
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicBool, Ordering};
    use std::panic::{catch_unwind, resume_unwind};

    use super::*;

    #[test]
    fn the_place_is_that_of_the_panic_that_was_caught() {
        listen();
        let line = line!() + 1;
        assert!(catch_unwind(|| panic!("here")).is_err());
        let place = format_location(Some("here")).expect("a place");
        assert!(
            place.starts_with(&format!("{}:{line}:", file!())),
            "{place}"
        );
    }

    #[test]
    fn a_panic_that_is_passed_on_has_no_place_here() {
        listen();
        assert!(catch_unwind(|| panic!("of another")).is_err());
        assert!(catch_unwind(|| resume_unwind(Box::new("passed on"))).is_err());
        assert_eq!(format_location(Some("passed on")), None);
    }

    #[test]
    fn the_hook_that_was_there_runs_as_well() {
        static SEEN: AtomicBool = AtomicBool::new(false);
        set_hook(Box::new(|_| SEEN.store(true, Ordering::SeqCst)));
        listen();
        assert!(catch_unwind(|| panic!("seen")).is_err());
        assert!(format_location(Some("seen")).is_some());
        assert!(SEEN.load(Ordering::SeqCst));
    }
}
