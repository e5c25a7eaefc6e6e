package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The clock of this machine belongs to everybody on it, a static Go binary
// does not heed LD_PRELOAD, and a time namespace shifts the monotonic clocks
// only. So the lbshipd whose clock can jump is compiled with another time.Now
// (go build -overlay): it adds a number that is mapped from a file. The
// monotonic clock goes on evenly, as it does when an administrator or NTP sets the
// time. No source of lbshipd is changed for that.

// nowBefore is a line of time.Now in Go's time/time.go, nowAfter what follows it then.
const (
	nowBefore = "	sec, nsec, mono := runtimeNow()\n"
	nowAfter  = `	if shift := TortureShift; shift != nil {
		total := int64(nsec) + *shift%1e9
		sec += *shift / 1e9
		if total < 0 {
			total += 1e9
			sec--
		} else if total >= 1e9 {
			total -= 1e9
			sec++
		}
		nsec = int32(total)
	}
`
	nowVar = `
// TortureShift is added to the wall clock, in nanoseconds.
var TortureShift *int64
`
)

// clockInit is a file of package main that maps the number.
const clockInit = `package main

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

func init() {
	f, err := os.OpenFile(os.Getenv("LBSHIPD_CLOCK"), os.O_RDONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	mem, err := syscall.Mmap(int(f.Fd()), 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	time.TortureShift = (*int64)(unsafe.Pointer(&mem[0]))
}
`

// buildClock is the command "torture build-clock".
func buildClock(args []string) error {
	flags := flag.NewFlagSet("build-clock", flag.ContinueOnError)
	root := flags.String("root", "..", "the folder of lbshipd's module")
	out := flags.String("o", "../bin/lbshipd.torture", "where the binary goes")
	race := flags.Bool("race", false, "with the race detector")
	if err := flags.Parse(args); err != nil {
		return err
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("finding Go's sources: %w", err)
	}
	bin, err := filepath.Abs(*out)
	if err != nil {
		return err
	}
	module, err := filepath.Abs(*root)
	if err != nil {
		return err
	}
	source := filepath.Join(strings.TrimSpace(string(goroot)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	if strings.Count(string(text), nowBefore) != 1 {
		return fmt.Errorf("%s: time.Now has changed: adapt e2e/torture/clockbuild.go to it", source)
	}
	// Beside the binary, in a place that stays the same, so that Go's build
	// cache knows it again; "_" hides them from ./...
	beside := filepath.Join(filepath.Dir(bin), "_"+filepath.Base(bin))
	patched, added, overlay := beside+".time.go", beside+".main.go", beside+".overlay.json"
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {
		source: patched,
		filepath.Join(module, "cmd", "lbshipd", "torture_clock.go"): added,
	}})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{
		patched: strings.Replace(string(text), nowBefore, nowBefore+nowAfter, 1) + nowVar,
		added:   clockInit,
		overlay: string(replace),
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	build := exec.Command("go", "build", "-trimpath", "-overlay", overlay, "-o", bin)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if *race {
		build.Args = append(build.Args, "-race")
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	build.Args = append(build.Args, "./cmd/lbshipd")
	build.Dir, build.Stdout, build.Stderr = module, os.Stdout, os.Stderr
	return build.Run()
}
