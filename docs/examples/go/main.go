// Command classify sends one face to Mien and prints its emotions, strongest first.
//
//	classify 127.0.0.1:8001 face.png
//
// The picture is a square crop of one face; the SDK for Python finds faces in photographs, this example does not.
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"image"
	_ "image/jpeg"
	_ "image/png"
	"log"
	"os"
	"time"

	"google.golang.org/grpc"

	pb "mien.example/classify/inference"
)

const side = 96 // pixels, fixed by the contract

// faceTensor returns the picture as RGB bytes, row by row, scaled to side × side by its nearest pixels.
func faceTensor(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	picture, _, err := image.Decode(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	bounds := picture.Bounds()
	tensor := make([]byte, 0, side*side*3)
	for y := 0; y < side; y++ {
		for x := 0; x < side; x++ {
			r, g, b, _ := picture.At(bounds.Min.X+x*bounds.Dx()/side, bounds.Min.Y+y*bounds.Dy()/side).RGBA()
			tensor = append(tensor, byte(r>>8), byte(g>>8), byte(b>>8))
		}
	}
	return tensor, nil
}

// texts splits Triton's BYTES tensor: each element is a little-endian length and that many bytes.
func texts(raw []byte) []string {
	var all []string
	for len(raw) >= 4 {
		end := 4 + int(binary.LittleEndian.Uint32(raw))
		all = append(all, string(raw[4:end]))
		raw = raw[end:]
	}
	return all
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: classify ADDRESS PICTURE")
	}
	tensor, err := faceTensor(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	// Plain text is for loopback; elsewhere use credentials.NewTLS.
	connection, err := grpc.Dial(os.Args[1], grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	deadline, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	answer, err := pb.NewGRPCInferenceServiceClient(connection).ModelInfer(deadline, &pb.ModelInferRequest{
		ModelName: "emotion",
		Inputs: []*pb.ModelInferRequest_InferInputTensor{
			{Name: "FACES", Datatype: "UINT8", Shape: []int64{1, side, side, 3}},
		},
		Outputs: []*pb.ModelInferRequest_InferRequestedOutputTensor{{
			Name: "PROBABILITIES",
			// Asks for "probability:index:label" of the 7 strongest instead of the bare numbers.
			Parameters: map[string]*pb.InferParameter{
				"classification": {ParameterChoice: &pb.InferParameter_Int64Param{Int64Param: 7}},
			},
		}},
		RawInputContents: [][]byte{tensor},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("release %s\n", answer.ModelVersion)
	for _, line := range texts(answer.RawOutputContents[0]) {
		fmt.Println(line)
	}
}
