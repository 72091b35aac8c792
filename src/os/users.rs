//! Users and groups of the system, by name and by number.

use std::ffi::CString;
use std::fmt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd;

/// A user's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Uid(pub(crate) u32);

impl Uid {
    /// The superuser.
    pub(crate) const ROOT: Self = Self(0);

    /// Whether this is the superuser.
    pub(crate) const fn is_root(self) -> bool {
        self.0 == Self::ROOT.0
    }
}

/// A group's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Gid(pub(crate) u32);

impl fmt::Display for Uid {
    /// The user's name where it has one, else its number: what `chown` and `ls` would show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match unistd::User::from_uid(unistd::Uid::from_raw(self.0)) {
            Ok(Some(user)) => f.write_str(&user.name),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A user of the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    /// The name that it was looked up by.
    pub(crate) name: String,
    /// Its number.
    pub(crate) uid: Uid,
    /// Its primary group.
    pub(crate) gid: Gid,
    /// Its home directory (which need not exist).
    pub(crate) home: PathBuf,
}

/// Why a user or a group was not found.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    /// The user database has no such name.
    #[error(
        "there is no user \"{name}\"; make it with `useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}` (the package does so by systemd-sysusers)"
    )]
    NoUser {
        /// Who was looked for.
        name: String,
    },
    /// The group database has no such name.
    #[error("there is no group \"{name}\"; make it with `groupadd --system {name}`")]
    NoGroup {
        /// What was looked for.
        name: String,
    },
    /// The database could not be asked: not the same as "no such user".
    #[error("cannot look up \"{name}\" in the user database: {source}")]
    Lookup {
        /// Who or what was looked for.
        name: String,
        /// What the system said.
        source: Errno,
    },
}

/// The user with this name.
pub(crate) fn lookup_user(name: &str) -> Result<Account, UserError> {
    match unistd::User::from_name(name) {
        Ok(Some(user)) => {
            Ok(Account { name: user.name, uid: Uid(user.uid.as_raw()), gid: Gid(user.gid.as_raw()), home: user.dir })
        }
        Ok(None) => Err(UserError::NoUser { name: name.to_owned() }),
        Err(source) => Err(UserError::Lookup { name: name.to_owned(), source }),
    }
}

/// The group with this name.
pub(crate) fn lookup_group(name: &str) -> Result<Gid, UserError> {
    match unistd::Group::from_name(name) {
        Ok(Some(group)) => Ok(Gid(group.gid.as_raw())),
        Ok(None) => Err(UserError::NoGroup { name: name.to_owned() }),
        Err(source) => Err(UserError::Lookup { name: name.to_owned(), source }),
    }
}

/// The group's name, where it has one.
pub(crate) fn group_name(gid: Gid) -> Option<String> {
    unistd::Group::from_gid(unistd::Gid::from_raw(gid.0)).ok().flatten().map(|group| group.name)
}

/// The groups that a login of this user is in, its primary one among them; that one alone where the database cannot be asked.
pub(crate) fn groups_of(account: &Account) -> Vec<Gid> {
    let name = CString::new(account.name.as_str()).unwrap_or_default();
    let groups = unistd::getgrouplist(&name, unistd::Gid::from_raw(account.gid.0));
    groups.map_or_else(|_| vec![account.gid], |groups| groups.iter().map(|group| Gid(group.as_raw())).collect())
}

/// The user whose rights this process has.
pub(crate) fn effective_uid() -> Uid {
    Uid(unistd::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_superuser_is_found_by_name_and_shown_by_name() {
        let root = lookup_user("root").unwrap();
        assert_eq!((root.uid, root.gid), (Uid::ROOT, Gid(0)));
        assert_eq!(root.uid.to_string(), "root");
        assert_eq!(lookup_group("root").unwrap(), Gid(0));
        assert_eq!(group_name(Gid(0)).as_deref(), Some("root"));
        assert!(groups_of(&root).contains(&Gid(0)));
    }

    #[test]
    fn a_missing_user_is_named_with_the_cure() {
        let told = lookup_user("nobody-has-this-name").unwrap_err().to_string();
        assert!(told.contains("useradd --system") && told.contains("nobody-has-this-name"), "{told}");
        assert!(matches!(lookup_group("nobody-has-this-name"), Err(UserError::NoGroup { .. })));
    }

    #[test]
    fn a_number_without_a_name_is_shown_as_a_number() {
        assert_eq!(Uid(3_999_999_001).to_string(), "3999999001");
    }
}
