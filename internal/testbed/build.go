package testbed

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"
)

var building sync.Mutex

// builtServer returns the path of a server that is built from the module
// e2e/NAME if it is not there yet: ${XDG_CACHE_HOME:-~/.cache}/lbshipd/NAME-<first
// 16 digits of the SHA-256 of its go.sum>. That takes minutes.
func builtServer(name, pkg string) (string, error) {
	building.Lock()
	defer building.Unlock()
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return "", fmt.Errorf("the place of this source file is not known")
	}
	module := filepath.Join(filepath.Dir(here), "..", "..", "e2e", name)
	sum, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return "", fmt.Errorf("finding the module that builds %s: %w", name, err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(sum)
	path := filepath.Join(cache, "lbshipd", name+"-"+hex.EncodeToString(digest[:8]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	// The tests of several packages may come here at once; one builds.
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("waiting for another build of %s: %w", name, err)
	}
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return path, build(module, pkg, path)
}

// build builds to a temporary name, so that nobody runs half a binary.
func build(module, pkg, path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	temp := fmt.Sprintf("%s.%d", path, os.Getpid())
	defer os.Remove(temp)
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", temp, pkg)
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s in %s: %w\n%s", pkg, module, err, tail(out.String(), 4000))
	}
	return os.Rename(temp, path)
}

// freePorts returns ports of loopback that are free now, and that the kernel gives to nobody
// by itself (net.ipv4.ip_local_port_range): a server that is stopped and started again
// finds them free.
func freePorts(n int) ([]string, error) {
	const first, end = 10_000, 32_768
	var ports []string
	for tries := 0; len(ports) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(end-first)))
		if err != nil {
			if tries > 1000 {
				return nil, err
			}
			continue
		}
		defer l.Close() // all are held until all are known, so that they differ
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports, nil
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

// ClosedPort returns an address of loopback that nobody listens at.
func ClosedPort(tb TB) string {
	tb.Helper()
	ports, err := freePorts(1)
	if err != nil {
		tb.Fatalf("finding a free port: %v", err)
	}
	return "127.0.0.1:" + ports[0]
}
