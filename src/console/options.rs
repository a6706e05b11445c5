//! The options among a command's words: `--force`, `--manifest FILE`, `--manifest=FILE`.
//!
//! They stand anywhere behind the command. `--` alone ends them, so that a file may be called `--force`.

use super::escape::quoted;

/// An option of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OptionSpec {
    /// The option's name, with the two hyphens.
    pub name: &'static str,
    /// The name of its value in the usage line, if it takes one. Where that ends in `...`, the option may be given
    /// several times.
    pub value: Option<&'static str>,
}

impl OptionSpec {
    /// The option as the usage line shows it.
    pub fn usage(&self) -> String {
        match self.value {
            Some(value) => format!("[{} {value}]", self.name),
            None => format!("[{}]", self.name),
        }
    }
}

/// The options that were given.
#[derive(Default, Debug)]
pub struct GivenOptions(Vec<(&'static str, String)>);

impl GivenOptions {
    /// Takes the options that `specs` describe out of `arguments`; the other words are returned.
    ///
    /// # Errors
    /// For people: there is no such option, it lacks its value or has one too many, or it is given twice.
    pub fn take(arguments: &[String], specs: &[OptionSpec]) -> Result<(Vec<String>, Self), String> {
        let (mut words, mut options) = (Vec::new(), Self::default());
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if argument == "--" {
                words.extend(rest.cloned());
                break;
            }
            if !argument.starts_with("--") {
                words.push(argument.clone());
                continue;
            }
            let (name, given) =
                argument.split_once('=').map_or((&**argument, None), |(name, value)| (name, Some(value)));
            let spec = specs.iter().find(|spec| spec.name == name);
            let spec = spec
                .ok_or_else(|| format!("there is no option {} here; a file of that name follows --", quoted(name)))?;
            let repeats = spec.value.is_some_and(|value| value.ends_with("..."));
            if options.has(spec.name) && !repeats {
                return Err(format!("{name} is given twice"));
            }
            let value = match (spec.value, given) {
                (None, None) => String::new(),
                (None, Some(_)) => return Err(format!("{name} takes no value")),
                (Some(_), Some(value)) => value.to_owned(),
                (Some(value), None) => rest.next().cloned().ok_or_else(|| format!("{name} needs its {value}"))?,
            };
            options.0.push((spec.name, value));
        }
        Ok((words, options))
    }

    /// Whether an option was given.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// Every value of an option.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(given, _)| *given == name).map(|(_, value)| &**value)
    }

    /// The value of an option that was given; empty if it takes none.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| *given == name).map(|(_, value)| &**value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: &[OptionSpec] =
        &[OptionSpec { name: "--force", value: None }, OptionSpec { name: "--manifest", value: Some("FILE") }];

    fn take(line: &str) -> Result<(Vec<String>, GivenOptions), String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        GivenOptions::take(&words, SPECS)
    }

    #[test]
    fn options_stand_anywhere_and_two_hyphens_end_them() {
        for line in ["--force a b --manifest m", "a --manifest=m b --force", "--manifest m --force -- a b"] {
            let (words, options) = take(line).unwrap();
            assert_eq!(words, ["a", "b"], "{line}");
            assert!(options.has("--force") && options.value("--manifest") == Some("m"), "{line}");
        }
        let (words, options) = take("a -- --force --").unwrap();
        assert_eq!(words, ["a", "--force", "--"]);
        assert!(!options.has("--force"));
        assert_eq!(take("- -x").unwrap().0, ["-", "-x"], "one hyphen makes no option");
    }

    #[test]
    fn what_is_wrong_with_an_option_is_said() {
        for (line, reason) in [
            ("a --forse", "no option \"--forse\""),
            ("a --manifest", "needs its FILE"),
            ("a --force=1", "takes no value"),
            ("--force --force", "given twice"),
            ("--\u{1b}[2J", "no option \"--\\u{1b}[2J\""),
        ] {
            let error = take(line).unwrap_err();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
