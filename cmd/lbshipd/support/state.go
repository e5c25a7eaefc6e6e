package support

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"text/tabwriter"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/admin"
	"github.com/lbshipd/lbshipd/positions"
)

// maxListed bounds how many files are listed.
const maxListed = 20_000

func (g *gatherer) positions(_ context.Context, w *writer) error {
	entries, err := positions.ReadDir(g.settings.DataDir)
	if err != nil {
		return err
	}
	// Without an input it is the mark that a source was seen.
	return positions.WriteText(w, slices.DeleteFunc(entries, func(e positions.Entry) bool { return e.Input == "" }))
}

func (g *gatherer) ledger(_ context.Context, w *writer) error {
	rows, err := positions.ReadLedger(g.settings.DataDir)
	if err != nil {
		return err
	}
	return w.json(admin.StoredRows(rows))
}

// dataDirectory lists the daemon's state: names and sizes, nothing of what is in it.
func (g *gatherer) dataDirectory(ctx context.Context, w *writer) error {
	dir, n := g.settings.DataDir, 0
	if dir == "" {
		return errors.New("there is no data directory")
	}
	var total int64
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return errors.New("it took too long")
		}
		if n++; n > maxListed {
			return fmt.Errorf("there are more than %d files", maxListed)
		}
		if err != nil {
			w.printf("%s: %s\n", path, fileError(err))
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		w.printf("%s\n", list(path))
		return nil
	})
	w.printf("%d bytes altogether\n", total)
	return err
}

// disks writes how full the file systems are that state and logs are on.
func (g *gatherer) disks(_ context.Context, w *writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PATH\tBYTES\tFREE\tINODES\tFREE\tREAD-ONLY")
	for _, path := range []string{g.settings.DataDir, "/", "/var/log", "/var/log/journal", "/run/log/journal", "/tmp"} {
		if path == "" {
			continue
		}
		var st unix.Statfs_t
		if err := unix.Statfs(path, &st); err != nil {
			if !errors.Is(err, unix.ENOENT) {
				w.miss(path, err)
			}
			continue
		}
		size := uint64(st.Bsize)
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%v\n", path, st.Blocks*size, st.Bavail*size, st.Files, st.Ffree, st.Flags&unix.ST_RDONLY != 0)
	}
	return t.Flush()
}
