//! What the kernel knows of its clock (adjtimex(2)).

/// Whether something keeps the clock right; none: the kernel does not tell (a sandbox refuses the call).
pub(crate) fn is_synchronised() -> Option<bool> {
    // SAFETY: timex holds numbers only, for all of which zero is a value; no mode set means that the call only reads.
    let mut facts: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole timex that lives through the call.
    let state = unsafe { libc::adjtimex(&raw mut facts) };
    (state >= 0).then_some(state != libc::TIME_ERROR && facts.status & libc::STA_UNSYNC == 0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_asked_without_being_changed() {
        let before = super::is_synchronised();
        assert_eq!(super::is_synchronised(), before);
    }
}
