// Threads, compiled code, a server and a client on loopback, child processes, mapped files.
import com.sun.net.httpserver.HttpServer;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.LongStream;

public class Work {
    static long spin(long rounds) {
        long sum = 0;
        for (long i = 0; i < rounds; i++) sum = sum * 31 + i;
        return sum;
    }

    public static void main(String[] arguments) throws Exception {
        var total = new AtomicLong();
        var pool = Executors.newFixedThreadPool(8);
        for (int i = 0; i < 64; i++) pool.submit(() -> total.addAndGet(spin(1_000_000) & 1));
        pool.shutdown();
        System.out.println("threads " + pool.awaitTermination(1, TimeUnit.MINUTES) + " " + total);
        System.out.println("streams " + LongStream.range(0, 1_000_000).parallel().sum());

        var server = HttpServer.create(new InetSocketAddress(InetAddress.getByName("127.0.0.1"), 0), 0);
        server.createContext("/", exchange -> {
            byte[] answer = ("served " + exchange.getRequestURI()).getBytes();
            exchange.sendResponseHeaders(200, answer.length);
            exchange.getResponseBody().write(answer);
            exchange.close();
        });
        server.start();
        var uri = URI.create("http://127.0.0.1:" + server.getAddress().getPort() + "/page");
        var answer = HttpClient.newHttpClient().send(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString());
        System.out.println("server " + answer.body());
        server.stop(0);

        var child = new ProcessBuilder("sh", "-c", "read line; echo $line").start();
        child.outputWriter().append("piped\n").close();
        System.out.println("child " + child.inputReader().readLine() + " " + child.waitFor());

        Path file = Files.createTempFile(Path.of("."), "mapped", "");
        try (var channel = FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            channel.map(FileChannel.MapMode.READ_WRITE, 0, 1 << 20).put(1 << 19, (byte) 7);
        }
        System.out.println("mapped " + Files.readAllBytes(file)[1 << 19]);
        System.exit(0);
    }
}
