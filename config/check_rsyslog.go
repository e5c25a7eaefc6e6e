package config

import (
	"net"
	"regexp"
	"slices"
	"strings"
)

const (
	maxAddresses = 16
	maxRelp      = 128 << 10 // RELP's limit of the data of one frame
)

// RsyslogProtocols returns what rsyslog.protocol takes.
func RsyslogProtocols() []string { return []string{"tls", "tcp", "udp", "relp", "relp-tls"} }

// UsesTLS reports whether a protocol of a rsyslog target runs over TLS.
func UsesTLS(protocol string) bool { return protocol == "tls" || protocol == "relp-tls" }

// Facilities returns the names of the syslog facilities (RFC 5424 table 1)
// that a configuration may use. FacilityCode gives their numbers.
func Facilities() []string {
	names := make([]string, 0, len(facilities))
	for _, f := range facilities {
		names = append(names, f.name)
	}
	return names
}

// FacilityCode returns the number of a facility, and false if there is none
// of that name.
func FacilityCode(name string) (uint8, bool) {
	for _, f := range facilities {
		if f.name == name {
			return f.code, true
		}
	}
	return 0, false
}

var facilities = []struct {
	name string
	code uint8
}{
	{"kern", 0}, {"user", 1}, {"mail", 2}, {"daemon", 3}, {"auth", 4}, {"syslog", 5}, {"lpr", 6}, {"news", 7},
	{"uucp", 8}, {"cron", 9}, {"authpriv", 10}, {"ftp", 11},
	{"local0", 16}, {"local1", 17}, {"local2", 18}, {"local3", 19}, {"local4", 20}, {"local5", 21}, {"local6", 22}, {"local7", 23},
}

func (k *checker) rsyslog(p path, r *RsyslogTarget) {
	k.addresses(p, r)
	relp := r.Protocol == "relp" || r.Protocol == "relp-tls"
	if k.oneOf(p.dot("protocol"), r.Protocol, RsyslogProtocols()) && !UsesTLS(r.Protocol) {
		message := "is given, but the protocol is %s, which shows no certificates"
		if relp {
			message += "; make it relp-tls"
		}
		k.failIf(r.TLSBundle != "", p.dot("tlsBundle"), message, r.Protocol)
		k.failIf(r.ServerName != "", p.dot("serverName"), message, r.Protocol)
		k.failIf(len(r.Fingerprints) > 0, p.dot("fingerprints"), message, r.Protocol)
	}
	k.bundleRef(p.dot("tlsBundle"), r.TLSBundle)
	k.serverName(p.dot("serverName"), r.ServerName)
	for i, f := range r.Fingerprints {
		k.fingerprint(p.dot("fingerprints").index(i), f)
	}
	k.framing(p.dot("framing"), r, relp)
	k.oneOf(p.dot("facility"), r.Facility, Facilities())
	if r.AppName != "" && (len(r.AppName) > maxAppName || !printable(r.AppName, "")) {
		k.fail(p.dot("appName"), "%q must be at most %d ASCII letters, digits and signs without a space (RFC 5424 section 6.2.5)", cut(r.AppName), maxAppName)
	}
	k.plainList(p.dot("structuredData"), "name", r.StructuredData, maxMetadata)
	if r.StructuredDataID != nil && *r.StructuredDataID != "" {
		k.sdID(p.dot("structuredDataId"), *r.StructuredDataID)
	}
	if relp && r.MaxMessageBytes > maxRelp {
		k.fail(p.dot("maxMessageBytes"), "must be at most 128KiB over RELP, is %v", r.MaxMessageBytes)
	}
	if r.Protocol == "udp" && r.MaxMessageBytes > maxUDP {
		k.fail(p.dot("maxMessageBytes"), "must be at most %d over udp, is %v", maxUDP, r.MaxMessageBytes)
	}
}

// addresses checks where a rsyslog target is.
func (k *checker) addresses(p path, r *RsyslogTarget) {
	place := p.dot("addresses")
	switch {
	case k.c.doc.isBad(place):
		return // there are some, and what is wrong with them is said
	case len(r.Addresses) == 0:
		k.hostPort(p.dot("address"), r.Address)
		return
	case r.Address != "":
		k.fail(place, "address is given as well; put it first in addresses, and leave it out")
	case len(r.Addresses) > maxAddresses:
		k.fail(place, "has %d items, more than %d", len(r.Addresses), maxAddresses)
		return
	}
	for i, address := range r.Addresses {
		k.hostPort(place.index(i), address)
		if slices.Contains(r.Addresses[:i], address) {
			k.fail(place.index(i), "%q is given twice", cut(address))
		}
	}
}

// framing checks how messages are told apart. The default stands for whatever
// the protocol has.
func (k *checker) framing(p path, r *RsyslogTarget, relp bool) {
	switch {
	case !k.oneOf(p, r.Framing, []string{"octet-counting", "newline"}) || r.Framing != "newline":
	case relp:
		k.fail(p, "newline is for tcp only; %s has framing of its own", r.Protocol)
	case r.Protocol != "tcp":
		k.fail(p, "newline is for tcp only, the protocol is %s", cut(r.Protocol))
	}
}

// printable reports whether text is printable ASCII without a space and
// without the characters of not.
func printable(text, not string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(not, r) })
}

var privateSDID = regexp.MustCompile(`^[^@]+@[0-9]+(\.[0-9]+)*$`)

// sdID checks an SD-ID that is not IANA's (RFC 5424 section 6.3.2).
func (k *checker) sdID(p path, id string) {
	switch {
	case len(id) > maxSDName || !printable(id, `= ]"`):
		k.fail(p, "%q must be at most %d ASCII characters without space, =, ] and \" (RFC 5424 section 6.3.2)", cut(id), maxSDName)
	case !privateSDID.MatchString(id):
		k.fail(p, "%q must be NAME@NUMBER with an enterprise number; names without one are IANA's (RFC 5424 section 6.3.2)", cut(id))
	}
}

func (k *checker) hostPort(p path, address string) {
	if address == "" {
		k.fail(p, "is missing")
		return
	}
	host, port, err := net.SplitHostPort(address)
	switch {
	case strings.Contains(address, "://"):
		k.fail(p, "must be host:port without a scheme, such as logs.example.net:6514; the protocol is a field of its own")
	case err != nil && strings.Count(address, ":") > 1:
		k.fail(p, "%q must be host:port, with an IPv6 address in brackets: [2001:db8::1]:6514", cut(address))
	case err != nil:
		k.fail(p, "%q must be host:port, such as logs.example.net:6514", cut(address))
	case !validPort(port):
		k.fail(p, "port %q must be a number from 1 to 65535", cut(port))
	case !validHost(host):
		k.fail(p, "%q is no host name or IP address", cut(host))
	}
}

// AllAddresses returns the addresses of a target, the preferred one first.
func (r *RsyslogTarget) AllAddresses() []string {
	if r.Address == "" {
		return r.Addresses
	}
	return []string{r.Address}
}
