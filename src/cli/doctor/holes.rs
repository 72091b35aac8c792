//! Versions of ComfyUI and ComfyUI-Manager with holes that are published. A short list of what is worth an update today; the
//! guard keeps strangers out in any case.

use super::finding::Finding;

/// Two programs whose versions are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    ComfyUI,
    Manager,
}

impl Program {
    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::ComfyUI => "ComfyUI",
            Self::Manager => "Manager",
        }
    }
}

/// A published hole.
struct Hole {
    program: Program,
    /// The first version that has it, and the first that has it no more.
    from: &'static str,
    fixed: &'static str,
    name: &'static str,
    what: &'static str,
    source: &'static str,
}

const HOLES: &[Hole] = &[
    Hole {
        program: Program::ComfyUI,
        from: "0",
        fixed: "0.2.3",
        name: "CVE-2024-10481",
        what: "web pages of others could queue prompts",
        source: "https://nvd.nist.gov/vuln/detail/CVE-2024-10481",
    },
    Hole {
        program: Program::ComfyUI,
        from: "0",
        fixed: "0.3.76",
        name: "CVE-2025-67303",
        what: "guests can rewrite the Manager's configuration through /userdata, and lower its security level",
        source: "https://github.com/Comfy-Org/ComfyUI/pull/10966",
    },
    Hole {
        program: Program::ComfyUI,
        from: "0.22",
        fixed: "0.26",
        name: "CVE-2026-68771",
        what: "an uploaded file is run as code by the node LoadTrainingDataset",
        source: "https://github.com/advisories/GHSA-6p72-9j26-4rmx",
    },
    Hole {
        program: Program::ComfyUI,
        from: "0",
        fixed: "0.28",
        name: "CVE-2026-56670 to -56673",
        what: "files outside of its folders can be read through prompts, and uploaded pages run in the browsers of other guests",
        source: "https://github.com/Comfy-Org/ComfyUI/security/advisories/GHSA-779p-m5rp-r4h4",
    },
    Hole {
        program: Program::Manager,
        from: "0",
        fixed: "2.51.1",
        name: "CVE-2024-21574",
        what: "guests can install any package by its address",
        source: "https://nvd.nist.gov/vuln/detail/CVE-2024-21574",
    },
    Hole {
        program: Program::Manager,
        from: "0",
        fixed: "3.31",
        name: "CVE-2025-45076",
        what: "guests can install from any place, past its list",
        source: "https://nvd.nist.gov/vuln/detail/CVE-2025-45076",
    },
    Hole {
        program: Program::Manager,
        from: "0",
        fixed: "3.38",
        name: "CVE-2025-67303",
        what: "guests can rewrite its configuration through /userdata, and lower its security level",
        source: "https://github.com/advisories/GHSA-2hc9-cc65-xwj8",
    },
    Hole {
        program: Program::Manager,
        from: "0",
        fixed: "3.39.2",
        name: "CVE-2026-22777",
        what: "guests can write into its configuration, and lower its security level",
        source: "https://github.com/Comfy-Org/ComfyUI-Manager/security/advisories/GHSA-562r-8445-54r2",
    },
    Hole {
        program: Program::Manager,
        from: "4",
        fixed: "4.0.5",
        name: "CVE-2026-22777",
        what: "guests can write into its configuration, and lower its security level",
        source: "https://github.com/Comfy-Org/ComfyUI-Manager/security/advisories/GHSA-562r-8445-54r2",
    },
    Hole {
        program: Program::Manager,
        from: "3",
        fixed: "3.40",
        name: "no CVE",
        what: "a link in a page of others can make it change things (GET requests that act)",
        source: "https://github.com/Comfy-Org/ComfyUI-Manager/pull/2819",
    },
    Hole {
        program: Program::Manager,
        from: "4",
        fixed: "4.2.1",
        name: "no CVE",
        what: "a form in a page of others can make it change things",
        source: "https://github.com/Comfy-Org/ComfyUI-Manager/pull/2818",
    },
];

/// What is known of this version, in one finding: the newest of the fixes mends all.
pub(super) fn judge(program: Program, version: &str) -> Finding {
    let number = numbers(version);
    if number.is_empty() {
        return Finding::warning(
            program.about(),
            format!("its version \"{version}\" is no number, so nothing can be said of holes in it"),
            "see to it yourself that it is a recent one",
        );
    }
    let open: Vec<&Hole> = HOLES
        .iter()
        .filter(|hole| hole.program == program && number >= numbers(hole.from) && number < numbers(hole.fixed))
        .collect();
    let Some(newest) = open.iter().map(|hole| hole.fixed).max_by_key(|fixed| numbers(fixed)) else {
        return Finding::ok(program.about(), format!("{version}; no hole in it is known to this version of the guard"));
    };
    let told: Vec<String> = open.iter().map(|hole| format!("{} ({}) {}", hole.what, hole.name, hole.source)).collect();
    Finding::warning(
        program.about(),
        format!("{version} has known holes: {}", told.join(" and ")),
        format!("update it to {newest} or later"),
    )
}

/// `V3.39.2b1` as 3, 39, 2, without zeros at the end: 3.40 is 3.40.0.
fn numbers(version: &str) -> Vec<u64> {
    let version = version.trim().trim_start_matches(['v', 'V']);
    let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let mut numbers: Vec<u64> = version.split('.').map_while(digits).collect();
    // "0" is a version too.
    while numbers.len() > 1 && numbers.last() == Some(&0) {
        numbers.pop();
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::finding::Grade;

    #[test]
    fn versions_count_as_numbers() {
        for (less, more) in
            [("3.9", "3.10"), ("3.39.1", "3.39.2"), ("3.38", "3.38.1"), ("0.2.2", "0.2.3"), ("V3.37", "3.38")]
        {
            assert!(numbers(less) < numbers(more), "{less} {more}");
        }
        assert_eq!(numbers("3.40.0"), numbers("3.40"));
        assert_eq!(numbers("4.1b8"), [4, 1]);
        assert_eq!(numbers("unknown"), Vec::<u64>::new());
    }

    #[test]
    fn old_versions_are_told_with_their_holes_and_new_ones_are_in_order() {
        let table = [
            (Program::ComfyUI, "0.2.2", Grade::Warning, "0.28"),
            (Program::ComfyUI, "0.3.76", Grade::Warning, "0.28"),
            (Program::ComfyUI, "0.27.1", Grade::Warning, "0.28"),
            (Program::ComfyUI, "0.28.0", Grade::Ok, ""),
            (Program::ComfyUI, "1.0", Grade::Ok, ""),
            (Program::Manager, "2.50", Grade::Warning, "3.39.2"),
            (Program::Manager, "3.37", Grade::Warning, "3.40"),
            (Program::Manager, "3.39.2", Grade::Warning, "3.40"),
            (Program::Manager, "3.40", Grade::Ok, ""),
            (Program::Manager, "4.0.4", Grade::Warning, "4.2.1"),
            (Program::Manager, "4.2.1", Grade::Ok, ""),
            (Program::Manager, "nightly", Grade::Warning, ""),
        ];
        for (program, version, grade, cure) in table {
            let finding = judge(program, version);
            assert_eq!(finding.grade, grade, "{finding:?}");
            assert!(finding.cure.unwrap_or_default().contains(cure), "{version}");
        }
        let names = |version| judge(Program::ComfyUI, version).found;
        assert!(
            names("0.22.1").contains("68771") && !names("0.21.9").contains("68771") && !names("0.26").contains("68771")
        );
        let both = judge(Program::Manager, "3.37").found;
        assert!(both.contains("CVE-2025-67303") && both.contains("CVE-2026-22777"), "{both}");
    }

    #[test]
    fn each_hole_has_an_order_and_a_source() {
        for hole in HOLES {
            assert!(numbers(hole.from) < numbers(hole.fixed), "{}", hole.name);
            assert!(hole.source.starts_with("https://"), "{}", hole.name);
        }
    }
}
