package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// disk is the file system of the data directory: a small tmpfs of its own, so that it can
// be filled and made read-only, where mounting is permitted.
type disk struct {
	path string
	own  bool
}

const diskBytes = "8m"

func newDisk(tb *bed, path string) *disk {
	err := syscall.Mount("torture", path, "tmpfs", 0, "size="+diskBytes)
	if err == syscall.EPERM || err == syscall.EACCES {
		fmt.Printf("torture: no disk is filled or made read-only: mounting a tmpfs: %v\n", err)
		return &disk{path: path}
	}
	if err != nil {
		tb.Fatalf("mounting a tmpfs: %v", err)
	}
	d := &disk{path, true}
	tb.Cleanup(func() {
		for syscall.Unmount(path, syscall.MNT_DETACH) == nil {
		}
	})
	return d
}

// fill takes all the room that is left, for so long.
func (d *disk) fill(wait time.Duration) error {
	name := filepath.Join(d.path, "filler")
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	block := make([]byte, 16<<10)
	full := false
	for end := time.Now().Add(wait); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		for {
			if _, err = f.Write(block); err != nil {
				break
			}
		}
		full = full || errors.Is(err, syscall.ENOSPC)
	}
	f.Close()
	if err := os.Remove(name); err != nil {
		return err
	}
	if !full {
		return errors.New("the disk did not fill up")
	}
	return nil
}

// seal makes it read-only for so long: a read-only view of it is laid over it,
// for a file system with files open for writing cannot be made read-only itself.
func (d *disk) seal(wait time.Duration) error {
	if err := syscall.Mount(d.path, d.path, "", syscall.MS_BIND, ""); err != nil {
		return err
	}
	var err error
	await(10*time.Second, func() bool { // it is busy as long as something is being written through it
		err = syscall.Mount("", d.path, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")
		return err != syscall.EBUSY
	})
	if err == nil {
		if e := os.WriteFile(filepath.Join(d.path, "x"), nil, 0o600); !errors.Is(e, syscall.EROFS) {
			err = errors.New("the data directory is not read-only")
		}
		time.Sleep(wait)
	}
	if e := syscall.Unmount(d.path, syscall.MNT_DETACH); e != nil {
		return e
	}
	return err
}

// clock is the shift of the daemon's wall clock: a number of nanoseconds that
// it reads from a file which is mapped. Only a daemon built by
// "torture build-clock" looks at it; this machine's clock is never touched.
type clock struct {
	path string
	mem  []byte
}

func newClock(tb *bed, path string) *clock {
	if err := os.WriteFile(path, make([]byte, 8), 0o644); err != nil {
		tb.Fatalf("%v", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	defer f.Close()
	mem, err := syscall.Mmap(int(f.Fd()), 0, 8, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return &clock{path, mem}
}

// set shifts the daemon's clock.
func (c *clock) set(by time.Duration) {
	atomic.StoreInt64((*int64)(unsafe.Pointer(&c.mem[0])), int64(by))
}
