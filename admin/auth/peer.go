package auth

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// peer is the process at the other end of a Unix socket, as the kernel knew it
// when it connected (SO_PEERCRED, unix(7)).
type peer struct{ uid int }

type peerKey struct{}

// ConnContext is for http.Server.ConnContext: it remembers who is at the other
// end of a Unix socket. Connections of other kinds have nobody.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	if held, ok := c.(*countedConn); ok {
		c = held.Conn
	}
	socket, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	p, err := peerOf(socket)
	if err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, p)
}

func peerOf(c *net.UnixConn) (peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{}, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return peer{}, err
	}
	if failed != nil {
		return peer{}, failed
	}
	return peer{uid: int(cred.Uid)}, nil
}

// trusted are the users that need no token on the Unix socket, by uid, with
// their names: root, and the daemon's own.
func trusted() map[int]string {
	names := map[int]string{0: "root"}
	if own := os.Geteuid(); own != overflowUID() {
		names[own] = userName(own)
	}
	return names
}

// overflowUID is what the kernel shows us of users that this user namespace
// does not know: nobody in particular, so it must not count as us.
func overflowUID() int {
	const usual = 65534
	text, err := os.ReadFile("/proc/sys/kernel/overflowuid")
	if err != nil {
		return usual
	}
	uid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return usual
	}
	return uid
}

func userName(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil || checkName(u.Username) != nil {
		return fmt.Sprintf("uid %d", uid)
	}
	return u.Username
}
