package positions

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Save writes the positions if they changed since the last good save. When it
// returns nil they are on disk.
func (s *Store) Save() error {
	s.ask(&s.saved)
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	if s.version == s.saved {
		s.lastErr, s.lastOK = nil, s.now()
		s.mu.Unlock()
		return nil
	}
	version := s.version
	s.expire()
	c := contents{entries: s.list(""), rows: s.rows()}
	s.mu.Unlock()

	err := s.replace(c.encode(), true) // in its own time: senders wait for s.mu

	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastErr = err
	if err == nil {
		s.saved, s.kept, s.lastOK = version, version, s.now()
	}
	return err
}

// keep writes the positions without waiting for the disk: enough for a daemon
// that is killed, not for a machine that loses power. An error is Save's to tell.
func (s *Store) keep() {
	s.ask(&s.kept)
	s.saving.Lock()
	defer s.saving.Unlock()
	s.mu.Lock()
	if s.version == s.kept || s.lastErr != nil {
		s.mu.Unlock()
		return
	}
	version := s.version
	c := contents{entries: s.list(""), rows: s.rows()}
	s.mu.Unlock()
	if s.replace(c.encode(), false) == nil {
		s.mu.Lock()
		s.kept = version
		s.mu.Unlock()
	}
}

// replace replaces the file: at every moment there is a whole current file, and
// after the first time a whole previous one, which has been on the disk once, and is
// another file: what damages one of them leaves the other alone.
func (s *Store) replace(data []byte, synced bool) error {
	path := filepath.Join(s.dir, fileName)
	temp := filepath.Join(s.dir, tempName)
	if err := writeFile(temp, data, synced); err != nil {
		os.Remove(temp) // gives the space back when the disk is full
		return fmt.Errorf("writing positions: %w", err)
	}
	put := s.advance
	if s.loose {
		put = os.Rename
	}
	if err := put(temp, path); err != nil {
		return fmt.Errorf("replacing positions: %w", err)
	}
	s.loose = !synced
	if !synced {
		return nil
	}
	return syncDir(s.dir)
}

// advance makes temp the current file, and what that was the previous generation.
func (s *Store) advance(temp, path string) error {
	err := unix.Renameat2(unix.AT_FDCWD, temp, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	switch {
	case err == nil:
		return os.Rename(temp, filepath.Join(s.dir, previousName))
	case errors.Is(err, unix.ENOENT): // there is no current one
	default:
		if err := s.linkPrevious(path); err != nil {
			return err
		}
	}
	return os.Rename(temp, path)
}

// linkPrevious makes the current file the previous generation too, where names cannot be exchanged
// (NFS, old filters of system calls). For a moment they are one file then.
func (s *Store) linkPrevious(path string) error {
	// A link and not a rename: the current name must never be missing. And no
	// link over the previous one: that may be the only generation there is.
	link := filepath.Join(s.dir, linkName)
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	err := os.Link(path, link)
	if err == nil {
		err = os.Rename(link, filepath.Join(s.dir, previousName))
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func writeFile(path string, data []byte, synced bool) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && synced {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening data directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing data directory: %w", err)
	}
	return nil
}
