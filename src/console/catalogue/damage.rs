//! What became of a file of the catalogue that a power cut, or another program, cut or changed: it is told, once.

use std::fs;
use std::io;

use super::{Catalogue, ENDED, NAME, ended_by};
use crate::sums;
use crate::whole_file;

impl Catalogue {
    /// The catalogue has no byte. A catalogue that names nothing any longer has an empty line.
    pub(super) fn tell_emptied(&self) {
        let path = self.path();
        log::warn!(
            "{} was emptied: what was stored from here is known by its keys alone, unless a copy of that file is put back",
            path.display()
        );
        // If that cannot be, it is told again.
        let _ = self.write(&[]);
    }

    /// Sets the file of this name aside, of which some lines are damaged, and has its sound lines written anew.
    pub(super) fn set_aside(
        &self,
        name: &str,
        damaged: usize,
        rewrite: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let path = self.folder.join(name);
        let free = (1..).map(|number| self.folder.join(format!("{name}.damaged-{number}"))).find(|path| !path.exists());
        let aside = free.unwrap_or_else(|| self.folder.join(NAME));
        // The copy is as private as the file.
        fs::copy(&path, &aside)?;
        rewrite()?;
        let (path, aside) = (path.display(), aside.display());
        log::warn!("{path}: {damaged} of its lines cannot be read; it was copied to {aside}");
        Ok(())
    }

    /// Tells whether the file of the leases that were ended from here is damaged, and sets aside what of it is.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub(in crate::console) fn mend_ended(&self) -> io::Result<()> {
        let path = self.folder.join(ENDED);
        if !path.try_exists()? {
            return Ok(());
        }
        let _lock = self.lock()?;
        let text = whole_file::read_own(&path, whole_file::MAX_GROWING_FILE)?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let (sound, damaged): (Vec<&[u8]>, Vec<&[u8]>) =
            lines.partition(|line| std::str::from_utf8(line).is_ok_and(|line| ended_by(line).is_some()));
        let sound: String = sound.iter().map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect();
        let rewrite = || self.replace(ENDED, &sums::file_of(sound));
        match damaged.len() {
            0 if text.is_empty() => {
                log::warn!(
                    "{} was emptied: what was deleted from here, and is stored again, may be dropped by its holders",
                    path.display()
                );
                rewrite()
            }
            0 => Ok(()),
            damaged => self.set_aside(ENDED, damaged, rewrite),
        }
    }
}
