/// This thread takes no signal any more (but those that nothing can hold back).
pub fn block_signals() {
    // SAFETY: a set is plain data, filled before it is read; the old mask isn't
    // asked for.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
}
