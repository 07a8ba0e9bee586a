"""Adapters of a language model, tuned by two peers with Hugging Face's Trainer; only the adapters are exchanged.

The model is a tiny BERT with random weights, made from its configuration, so nothing is downloaded; with one of your
own, `AutoModelForSequenceClassification.from_pretrained(...)` stands in its place. A review is a row of words, and its
first one says whether it is good.

Environment variables: MAX_EPOCHS, MIN_PEERS, and SCRATCH_DIR, where the adapter is saved.
"""

import os
from pathlib import Path

import numpy as np
from peft import LoraConfig, TaskType, get_peft_model
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

from swarm.transformers import SwarmCallback  # (swarm)

SYNC_EVERY = 8  # steps of the optimizer
WORDS, LENGTH = 20, 12


def reviews(count, seed):
    random = np.random.default_rng(seed)
    rows = random.integers(0, WORDS, (count, LENGTH))
    good = rows[:, 0] < WORDS // 2
    return [{"input_ids": row, "labels": int(label)} for row, label in zip(rows, good, strict=True)]


def main():
    epochs = int(os.environ.get("MAX_EPOCHS", "2"))
    peer = int(os.environ.get("SWARM_PEER", "0"))
    set_seed(1)  # all peers tune the same model below the adapter
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=WORDS,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=LENGTH,
            initializer_range=0.1,  # random weights that do something
        )
    )
    lora = LoraConfig(task_type=TaskType.SEQ_CLS, r=8, lora_alpha=32, target_modules=["query", "value"])
    model = get_peft_model(model, lora)
    model.print_trainable_parameters()

    test = reviews(200, seed=0)
    swarm = SwarmCallback(  # (swarm)
        syncFrequency=SYNC_EVERY,
        minPeers=int(os.environ.get("MIN_PEERS", "2")),
        totalEpochs=epochs,
        model=model,
        hfMode="peft",
        adsValData=test,
        adsValBatchSize=50,
    )
    place = Path(os.environ.get("SCRATCH_DIR", ".")) / f"adapter-{peer}"
    arguments = TrainingArguments(
        output_dir=str(place),
        num_train_epochs=epochs,
        per_device_train_batch_size=16,
        learning_rate=1e-2,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=peer,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=reviews(512, seed=1 + peer),  # at home it is all one has
        callbacks=[swarm],  # (swarm)
    )
    trainer.train()

    given = trainer.predict(test)
    print(f"final model: accuracy {(given.predictions.argmax(1) == given.label_ids).mean():.3f}", flush=True)
    model.save_pretrained(place)
    print(f"saved {place}", flush=True)


if __name__ == "__main__":
    main()
