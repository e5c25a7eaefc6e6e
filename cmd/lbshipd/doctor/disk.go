package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/lbshipd/lbshipd/cmd/lbshipd/screen"
)

// How much room is full, and how much is little.
const (
	fullBytes  = 1 << 20
	littleMin  = 16 << 20
	littleMost = 1 << 30 // however large the disk is
)

func parentOf(path string) string { return filepath.Dir(path) }

// checkDisk looks at the file system of the data directory.
func checkDisk(_ context.Context, p *patient, r *result) {
	dir, err := existing(p.DataDir)
	if err != nil {
		r.notMade("%s: %v", p.DataDir, err)
		return
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		r.notMade("the file system of %s: %v", dir, err)
		return
	}
	size := st.Bsize
	if st.Frsize > 0 {
		size = st.Frsize
	}
	free, total := int64(st.Bavail)*size, int64(st.Blocks)*size
	room := []Remedy{
		run("See what takes the room.", "du -xh --max-depth=2 %s | sort -h | tail -n 20", quoted(mountOf(dir))),
		run("If it is the journal: let it take less.", "journalctl --vacuum-size=1G"),
		say("Or put the data directory on another disk (--data-dir), after stopping the daemon and moving what is in it."),
	}
	what := fmt.Sprintf("%s of %s are free", screen.Size(free), screen.Size(total))
	switch {
	case st.Flags&unix.ST_RDONLY != 0:
		r.add(found("disk-read-only", dir, "the file system at "+mountOf(dir)+" is read-only",
			run("See whether the disk has failed.", "journalctl -k | grep -iE 'error|remount' | tail -n 20"), run("If it has not: mount it for writing.", "mount -o remount,rw %s", quoted(mountOf(dir)))))
	case free < fullBytes:
		r.add(found("disk-full", dir, what, room...))
	case free < littleMin || free < total/20 && free < littleMost:
		r.add(found("disk-low", dir, what, room...))
	}
	if st.Files > 0 && st.Ffree == 0 {
		r.add(found("inodes-full", dir, fmt.Sprintf("all %d inodes of the file system are used", st.Files),
			run("See where the files are.", "du -x --inodes --max-depth=2 %s | sort -n | tail -n 20", quoted(mountOf(dir)))))
	}
	p.lookAtSpools(r, free)
}

// lookAtSpools compares what the spools may still grow to with the room there is.
func (p *patient) lookAtSpools(r *result, free int64) {
	var most int64
	for _, t := range p.targets() {
		if t.Spool != nil {
			most += int64(t.Spool.MaxBytes)
		}
	}
	if most == 0 {
		return
	}
	have := sizeOf(filepath.Join(p.DataDir, "spool"))
	if grow := most - have; grow > free {
		r.add(found("spool-too-large", p.DataDir, fmt.Sprintf("the spools of all targets may take %s, of which %s are taken, and %s are free", screen.Size(most), screen.Size(have), screen.Size(free)),
			run("Lower maxBytes of the spools.", "lbshipd get targets -o yaml | grep -B1 -A2 spool")))
	}
}

// sizeOf is what the files below a directory take, as far as that can be seen.
func sizeOf(dir string) (sum int64) {
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				sum += info.Size()
			}
		}
		return nil
	})
	return sum
}

// mountOf is where the file system of a directory is mounted.
func mountOf(dir string) string {
	st, err := statT(dir)
	if err != nil {
		return dir
	}
	for dir != "/" {
		up, err := statT(parentOf(dir))
		if err != nil || up.Dev != st.Dev {
			break
		}
		dir = parentOf(dir)
	}
	return dir
}
