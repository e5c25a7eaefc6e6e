package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// flood writes numbered lines of one size to dir/app.log at a rate, and
// rotates it in one way.
type flood struct {
	path   string
	rate   int // lines per second
	size   int // bytes per line, its newline included
	every  int // lines between two rotations; 0: none
	rotate string

	written atomic.Int64
	cut     atomic.Int64 // rotations
	mu      sync.Mutex
	first   map[uint64]int // by inode: the number of its first line
	err     error
}

// run writes until ctx ends. All lines of a file are written whole.
func (f *flood) run(ctx context.Context) {
	f.first = map[uint64]int{}
	file, err := f.open()
	n, base := 0, 0
	began := time.Now()
	var buf []byte
	for err == nil && ctx.Err() == nil {
		due := int(time.Since(began).Seconds() * float64(f.rate))
		if f.every > 0 {
			due = min(due, base+f.every)
		}
		// What is late is written with the time at which it is written.
		buf = buf[:0]
		for ; n < due && len(buf) < 1<<20; n++ {
			buf = append(buf, numbered(n, time.Now(), f.size)...)
		}
		if _, err = file.Write(buf); err != nil {
			break
		}
		f.written.Store(int64(n))
		if f.every > 0 && n-base >= f.every {
			if file, err = f.turn(file, n); err == nil {
				base = n
				f.cut.Add(1)
			}
			continue
		}
		time.Sleep(2 * time.Millisecond)
	}
	f.err = err
}

func (f *flood) open() (*os.File, error) {
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(int(file.Fd()), &st); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.first[st.Ino] = int(f.written.Load())
	f.mu.Unlock()
	return file, nil
}

func (f *flood) turn(file *os.File, n int) (*os.File, error) {
	to := fmt.Sprintf("%s.%d", f.path, f.cut.Load()+1)
	switch f.rotate {
	case "copytruncate":
		text, err := os.ReadFile(f.path)
		if err == nil {
			err = os.WriteFile(to, text, 0o644)
		}
		if err == nil {
			err = file.Truncate(0)
		}
		os.Remove(filepath.Join(filepath.Dir(f.path), fmt.Sprintf("app.log.%d", f.cut.Load()-1)))
		return file, err
	case "truncate":
		return file, file.Truncate(0)
	case "delete+create":
		file.Close()
		if err := os.Remove(f.path); err != nil {
			return nil, err
		}
	default:
		file.Close()
		if err := os.Rename(f.path, to); err != nil {
			return nil, err
		}
	}
	return f.open()
}
