package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// The server's side of RELP (https://github.com/rsyslog/librelp, doc/relp.html),
// written from its specification and not from lbshipd's client.

// relp serves one session.
func (h *session) relp() {
	last := 0
	for {
		fault := ""
		if last > 0 {
			fault = h.fault()
		}
		switch fault {
		case "resets":
			h.s.reset(h.tcp) // with unread data: it has acknowledged none of it
			return
		case "closes":
			return
		case "serverclose":
			io.WriteString(h.conn, "0 serverclose 0\n")
			return
		default:
			h.common(fault)
		}
		txnr, command, data, err := h.command()
		if err != nil {
			if _, odd := err.(oddFrame); odd {
				h.s.book.find("protocol", "%s: %v", h.s.name, err)
			}
			return
		}
		if last != 0 && txnr != last%999999999+1 {
			h.s.book.find("protocol", "%s: transaction %d behind %d", h.s.name, txnr, last)
			io.WriteString(h.conn, "0 serverclose 0\n")
			return
		}
		last = txnr
		switch command {
		case "open":
			if !strings.Contains(data, "relp_version=") || !strings.Contains(data, "commands=syslog") {
				h.s.book.find("protocol", "%s: open with %q", h.s.name, data)
			}
			h.say(txnr, "200 OK\nrelp_version=0\nrelp_software=torture\ncommands=syslog")
		case "close":
			h.say(txnr, "")
			io.WriteString(h.conn, "0 serverclose 0\n")
			return
		case "syslog":
			if !h.message(txnr, data, fault) {
				return
			}
		default:
			h.s.book.find("protocol", "%s: command %q", h.s.name, command)
			return
		}
	}
}

// message answers one message; false: the connection is over.
func (h *session) message(txnr int, data, fault string) bool {
	switch fault {
	case "answers 500":
		h.s.book.late(h.s.name, []byte(data))
		h.say(txnr, "500 cannot be processed")
		return true
	case "keeps and resets":
		h.keep([]byte(data))
		h.s.reset(h.tcp)
		return false
	case "answers late":
		time.Sleep(h.s.dice.between(50*time.Millisecond, time.Second))
	}
	h.keep([]byte(data))
	h.say(txnr, "200 OK")
	return true
}

func (h *session) say(txnr int, data string) {
	if data == "" {
		fmt.Fprintf(h.conn, "%d rsp 0\n", txnr)
		return
	}
	fmt.Fprintf(h.conn, "%d rsp %d %s\n", txnr, len(data), data)
}

// oddFrame is a frame that is not as the specification says.
type oddFrame struct{ text string }

func (o oddFrame) Error() string { return o.text }

// command reads one frame: TXNR SP COMMAND SP DATALEN [SP DATA] LF.
func (h *session) command() (txnr int, command, data string, err error) {
	word := func() (string, byte, error) {
		var b []byte
		for {
			c, err := h.in.ReadByte()
			if err != nil {
				return "", 0, err
			}
			if c == ' ' || c == '\n' {
				return string(b), c, nil
			}
			if b = append(b, c); len(b) > 32 {
				return "", 0, oddFrame{fmt.Sprintf("a header with %q", b)}
			}
		}
	}
	text, _, err := word()
	if err != nil {
		return 0, "", "", err
	}
	if txnr, err = strconv.Atoi(text); err != nil {
		return 0, "", "", oddFrame{fmt.Sprintf("transaction %q", text)}
	}
	if command, _, err = word(); err != nil {
		return 0, "", "", err
	}
	text, end, err := word()
	if err != nil {
		return 0, "", "", err
	}
	length, err := strconv.Atoi(text)
	if err != nil || length < 0 || length > 128<<10 {
		return 0, "", "", oddFrame{fmt.Sprintf("a length of %q", text)}
	}
	if end == '\n' {
		if length != 0 {
			return 0, "", "", oddFrame{"no data where some was announced"}
		}
		return txnr, command, "", nil
	}
	buf := make([]byte, length+1)
	if _, err := io.ReadFull(h.in, buf); err != nil {
		return 0, "", "", err
	}
	if buf[length] != '\n' {
		return 0, "", "", oddFrame{fmt.Sprintf("no line feed at the end of %.100q", buf)}
	}
	return txnr, command, string(buf[:length]), nil
}
