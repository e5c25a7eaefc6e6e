package auth

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain makes this program a client too, for tests that need another user.
func TestMain(m *testing.M) {
	if path := os.Getenv("LBSHIPD_TEST_SOCKET"); path != "" {
		clientOf(path)
		return
	}
	os.Exit(m.Run())
}

// clientOf asks once on the socket at path and prints what it is told.
func clientOf(path string) {
	c := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }}}
	r, _ := http.NewRequest("GET", "http://unix/api/x", nil)
	if token := os.Getenv("LBSHIPD_TEST_TOKEN"); token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := c.Do(r)
	if err != nil {
		fmt.Print(err)
		return
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	fmt.Printf("%d %s", answer.StatusCode, body)
}

// ask runs the client, a program that every user may run, as another user.
func ask(t *testing.T, client, path string, uid uint32, token string) string {
	t.Helper()
	c := exec.Command(client)
	c.Env = []string{"LBSHIPD_TEST_SOCKET=" + path, "LBSHIPD_TEST_TOKEN=" + token}
	c.Dir = "/"
	if uid != 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("the client as %d: %v: %s", uid, err, out)
	}
	return string(out)
}

// newClient puts this program where every user may run it.
func newClient(t *testing.T) string {
	t.Helper()
	path := filepath.Join(publicDir(t), "client")
	own, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, own, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// publicDir is a directory that every user can look into.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lbshipd-auth-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPeerCredentials(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else too")
	}
	const stranger = 65533
	client, path := newClient(t), filepath.Join(publicDir(t), "admin.sock")
	served(t, ListenOptions{SocketPath: path}, nil)
	if got := ask(t, client, path, 0, ""); got != "200 true root socket admin" {
		t.Errorf("root: %s", got)
	}
	if got := ask(t, client, path, stranger, ""); !strings.Contains(got, "permission denied") {
		t.Errorf("another user, although the socket is root's alone: %s", got)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, client, path, stranger, ""); !strings.HasPrefix(got, "401 ") || !strings.Contains(got, `"code":16`) {
		t.Errorf("another user: %s", got)
	}
	token := mint(t, testKeys().ed, "ed", func(o *MintOptions) { o.Role = Editor })
	if got := ask(t, client, path, stranger, token); got != "200 true alice token editor" {
		t.Errorf("another user with a token: %s", got)
	}
	if got := ask(t, client, path, stranger, token+"x"); !strings.HasPrefix(got, "401 ") {
		t.Errorf("another user with a bad token: %s", got)
	}
	if strings.Contains(fmt.Sprint(trusted()), "65534") {
		t.Error("users that the kernel does not know are trusted")
	}
}

func TestTheSocketIsItsOwnersAlone(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	path := filepath.Join(t.TempDir(), "admin.sock")
	seen := make(chan os.FileMode, 1)
	stop := make(chan struct{})
	go func() { // from the first moment on that it is there
		for {
			if st, err := os.Lstat(path); err == nil {
				seen <- st.Mode()
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	ln, err := listenUnix(path)
	if err != nil {
		close(stop)
		t.Fatal(err)
	}
	defer ln.Close()
	if mode := <-seen; mode.Perm() != 0o600 {
		t.Errorf("the socket was made as %s", mode)
	}
	if st, err := os.Lstat(path); err != nil || st.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket is %v (%v)", st.Mode(), err)
	}
}

// dead leaves a socket as a daemon does that is killed.
func dead(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	ln.Close()
}

func TestSocketsThatAreThereAlready(t *testing.T) {
	t.Run("a dead one is replaced", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		dead(t, path)
		l := served(t, ListenOptions{SocketPath: path}, nil)
		if got := ask(t, newClient(t), path, 0, ""); os.Geteuid() == 0 && got != "200 true root socket admin" {
			t.Errorf("%s", got)
		}
		l.Close()
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("it is not removed: %v", err)
		}
	})
	t.Run("a live one is not", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		ln, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		if l, err := listenUnix(path); err == nil {
			l.Close()
			t.Error("it was replaced")
		} else if !strings.Contains(err.Error(), "another program listens") {
			t.Error(err)
		}
		if c, err := net.Dial("unix", path); err != nil {
			t.Errorf("the live one is gone: %v", err)
		} else {
			c.Close()
		}
	})
	t.Run("another daemon's is not", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		first, err := listenUnix(path)
		if err != nil {
			t.Fatal(err)
		}
		if l, err := listenUnix(path); err == nil {
			l.Close()
			t.Error("it was replaced")
		} else if !strings.Contains(err.Error(), "another daemon") {
			t.Error(err)
		}
		first.Close()
		second, err := listenUnix(path)
		if err != nil {
			t.Fatalf("after it has gone: %v", err)
		}
		first.Close() // again: not the second one's
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("the second one's socket: %v", err)
		}
		second.Close()
	})
	t.Run("files, folders and links are not", func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{"file", "folder", "link", "pipe"} {
			path := filepath.Join(dir, name)
			switch name {
			case "file":
				write(t, path, []byte("precious"))
			case "folder":
				os.Mkdir(path, 0o700)
			case "link":
				dead(t, filepath.Join(dir, "target"))
				os.Symlink("target", path)
			case "pipe":
				unix.Mkfifo(path, 0o600)
			}
			if l, err := listenUnix(path); err == nil {
				l.Close()
				t.Errorf("%s was replaced", name)
			} else if !strings.Contains(err.Error(), "not a socket") {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("%s is gone", name)
			}
		}
	})
	t.Run("one that somebody has put in our place stays", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		l, err := listenUnix(path)
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(path)
		write(t, path, []byte("other"))
		l.Close()
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("it was removed: %v", err)
		}
	})
	t.Run("a path that is too long is said", func(t *testing.T) {
		if _, err := listenUnix("/tmp/" + strings.Repeat("x", 110)); err == nil || !strings.Contains(err.Error(), "shorter") {
			t.Error(err)
		}
	})
}

// Many daemons that start at once over a dead socket: one gets it, and keeps it.
func TestOneOfManyGetsADeadSocket(t *testing.T) {
	for range 20 {
		path := filepath.Join(t.TempDir(), "s")
		dead(t, path)
		var busy sync.WaitGroup
		got := make(chan net.Listener, 8)
		for range 8 {
			busy.Go(func() {
				if l, err := listenUnix(path); err == nil {
					got <- l
				}
			})
		}
		busy.Wait()
		if len(got) != 1 {
			t.Fatalf("%d have it", len(got))
		}
		l := <-got
		go func() {
			if c, err := l.Accept(); err == nil {
				io.WriteString(c, "hello\n")
				c.Close()
			}
		}()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatalf("nobody answers: %v", err)
		}
		if line, _ := bufio.NewReader(c).ReadString('\n'); line != "hello\n" {
			t.Errorf("%q", line)
		}
		c.Close()
		l.Close()
	}
}
