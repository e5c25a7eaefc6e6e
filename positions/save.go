package positions

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// replace replaces the file: at every moment there is a whole current file, and
// after the first time a whole previous one, which has been on the disk once.
func (s *Store) replace(data []byte, synced bool) error {
	path := filepath.Join(s.dir, fileName)
	temp := filepath.Join(s.dir, tempName)
	if err := writeFile(temp, data, synced); err != nil {
		os.Remove(temp) // gives the space back when the disk is full
		return fmt.Errorf("writing positions: %w", err)
	}
	if !s.loose {
		if err := s.keepPrevious(path); err != nil {
			return err
		}
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("replacing positions: %w", err)
	}
	s.loose = !synced
	if !synced {
		return nil
	}
	return syncDir(s.dir)
}

// keepPrevious makes the current file the previous generation too.
func (s *Store) keepPrevious(path string) error {
	// A link and not a rename: the current name must never be missing. And no
	// link over the previous one: that may be the only generation there is.
	link := filepath.Join(s.dir, linkName)
	if err := os.Remove(link); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replacing previous positions: %w", err)
	}
	err := os.Link(path, link)
	if err == nil {
		err = os.Rename(link, filepath.Join(s.dir, previousName))
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keeping previous positions: %w", err)
	}
	return nil
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
