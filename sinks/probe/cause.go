package probe

import (
	"errors"

	"github.com/lbshipd/lbshipd/internal/tlsbundle"
	"github.com/lbshipd/lbshipd/sinks"
)

// because is an error whose cause is one of sinks.Cause....
type because struct {
	error
	cause string
}

func (b because) Unwrap() error { return b.error }

// Because says what the cause of err is, in one of the words of sinks.
func Because(cause string, err error) error {
	if cause == "" {
		return err
	}
	return because{err, cause}
}

// causeOf finds the cause of an error, "" if it is none of those that have a word.
func causeOf(err error) string {
	var known because
	if errors.As(err, &known) {
		return known.cause
	}
	switch tlsbundle.FaultOf(err) {
	case tlsbundle.Expired:
		return sinks.CauseExpired
	case tlsbundle.NotYetValid:
		return sinks.CauseNotYet
	case tlsbundle.UnknownAuthority:
		return sinks.CauseAuthority
	case tlsbundle.OtherName:
		return sinks.CauseServerName
	case tlsbundle.OtherFingerprint:
		return sinks.CauseFingerprint
	case tlsbundle.RefusedByServer:
		return sinks.CauseHandshake
	}
	return ""
}
