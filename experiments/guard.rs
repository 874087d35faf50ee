//! Panics of libtorch as errors.

use std::{
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::Arc,
    thread,
};

use rescom::{Result, train};

/// Where libtorch has no memory in the middle of an operation, tch panics. That is the failure of one
/// run, of which nothing is used afterwards, and not of the program.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let usual: Arc<dyn Fn(&PanicHookInfo<'_>) + Send + Sync> = panic::take_hook().into();
    let main = thread::current().id();
    let others = Arc::clone(&usual);
    panic::set_hook(Box::new(move |info| {
        // This thread's panic becomes an error below, in one line.
        if thread::current().id() != main {
            others(info);
        }
    }));
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(Box::new(move |info| usual(info)));
    done.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(train::libtorch_failure(text.unwrap_or("stopped without a word")))
    })
}
