import java.util.Arrays;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

/** Sends each key as a record of that key and value: java KeyedProducer.java brokers topic key… */
public class KeyedProducer {
  public static void main(String[] args) throws Exception {
    Map<String, Object> settings = Map.of("bootstrap.servers", args[0]);
    try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
      for (String key : Arrays.copyOfRange(args, 2, args.length))
        producer.send(new ProducerRecord<>(args[1], key, key)).get();
    }
  }
}
