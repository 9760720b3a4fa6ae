// A verifier of one topic-partition by the standard library alone, to measure ours against.
//
// It reads a file of leaf data and notes (benchmarks/peers/dumping.py), computes the hash of every
// leaf and the tree over them (RFC 6962), and checks each note: its signature and its root.
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A perfect subtree of the frontier.
type subtree struct {
	size uint64
	hash [32]byte
}

func parent(left, right [32]byte) [32]byte {
	var data [65]byte
	data[0] = 1
	copy(data[1:], left[:])
	copy(data[33:], right[:])
	return sha256.Sum256(data[:])
}

func add(frontier []subtree, leaf [32]byte) []subtree {
	frontier = append(frontier, subtree{1, leaf})
	for n := len(frontier); n > 1 && frontier[n-2].size == frontier[n-1].size; n = len(frontier) {
		joined := subtree{2 * frontier[n-1].size, parent(frontier[n-2].hash, frontier[n-1].hash)}
		frontier = append(frontier[:n-2], joined)
	}
	return frontier
}

func root(frontier []subtree) [32]byte {
	found := frontier[len(frontier)-1].hash
	for at := len(frontier) - 2; at >= 0; at-- {
		found = parent(frontier[at].hash, found)
	}
	return found
}

func check(note []byte, name string, id []byte, key ed25519.PublicKey, size uint64, root [32]byte) error {
	text, lines, found := bytes.Cut(note, []byte("\n\n"))
	if !found {
		return fmt.Errorf("a note without signatures")
	}
	text = append(text[:len(text):len(text)], '\n')
	stated := strings.Split(string(text), "\n")
	if len(stated) < 4 || stated[1] != strconv.FormatUint(size, 10) ||
		stated[2] != base64.StdEncoding.EncodeToString(root[:]) {
		return fmt.Errorf("the tree of %d leaves differs", size)
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(lines), "\n"), "\n") {
		by, encoded, _ := strings.Cut(strings.TrimPrefix(line, "— "), " ")
		signature, err := base64.StdEncoding.DecodeString(encoded)
		if by != name || err != nil || len(signature) != 68 || !bytes.Equal(signature[:4], id) {
			continue
		}
		if ed25519.Verify(key, text, signature[4:]) {
			return nil
		}
	}
	return fmt.Errorf("no valid signature of %s", name)
}

func part(reader io.Reader, buffer []byte) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(reader, length[:]); err != nil {
		return nil, err
	}
	size := int(binary.BigEndian.Uint32(length[:]))
	if size > cap(buffer) {
		buffer = make([]byte, size)
	}
	_, err := io.ReadFull(reader, buffer[:size])
	return buffer[:size], err
}

func verify(path, public string) (uint64, error) {
	fields := strings.SplitN(public, "+", 3)
	if len(fields) != 3 {
		return 0, fmt.Errorf("not a public key")
	}
	id, err := hex.DecodeString(fields[1])
	if err != nil {
		return 0, err
	}
	typed, err := base64.StdEncoding.DecodeString(fields[2])
	if err != nil || len(typed) != 33 {
		return 0, fmt.Errorf("not a public key")
	}
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	reader := bufio.NewReaderSize(file, 1<<20)
	var frontier []subtree
	var size, verified uint64
	data, note := make([]byte, 1<<16), make([]byte, 1<<13)
	for {
		leaf, err := part(reader, data[1:])
		if err == io.EOF {
			return verified, nil
		}
		if err != nil {
			return verified, err
		}
		hashed := append([]byte{0}, leaf...)
		if len(leaf) < len(data) {
			hashed = data[:len(leaf)+1] // the byte before the leaf is 0
		}
		frontier = add(frontier, sha256.Sum256(hashed))
		size++
		signed, err := part(reader, note)
		if err != nil {
			return verified, err
		}
		if len(signed) > 0 {
			if err := check(signed, fields[0], id, typed[1:], size, root(frontier)); err != nil {
				return verified, err
			}
			verified = size
		}
	}
}

// The most memory of this process (proc(5)); that of getrusage counts its parent's before exec.
func peakMiB() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscan(line, &kib); err != nil {
		panic(err)
	}
	return kib / 1024
}

func main() {
	began := time.Now()
	verified, err := verify(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)/1e6 }
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"leaves": verified, "seconds": time.Since(began).Seconds(),
		"cpu": seconds(used.Utime) + seconds(used.Stime), "peak_mib": peakMiB(),
	})
}
